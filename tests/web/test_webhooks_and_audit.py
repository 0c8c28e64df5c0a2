"""The pages of webhooks and of the audit log."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from control_plane.tenants.models import Membership, User
from control_plane.webhooks.models import Webhook, WebhookAttempt, WebhookDelivery
from tests.web.conftest import Tenant
from tests.web.test_pages import signed_in

pytestmark = pytest.mark.django_db


def _webhooks(tenant: Tenant) -> str:
    return reverse("web:webhooks", args=[tenant.organization.id])


def _webhook(tenant: Tenant) -> str:
    return reverse("web:webhook", args=[tenant.organization.id, tenant.webhook.id])


def _audit(tenant: Tenant) -> str:
    return reverse("web:audit", args=[tenant.organization.id])


def test_a_signing_secret_is_shown_once(alice: Tenant) -> None:
    client = signed_in(alice)
    form = {"url": "https://new.example.com/", "event_types": "endpoint.* audit.*", "action": "create"}
    made = client.post(_webhooks(alice), form)
    assert b"whsec_" in made.content and made.headers["Cache-Control"] == "no-store"
    assert b"whsec_" not in client.get(_webhooks(alice)).content
    stored = Webhook.objects.get(organization=alice.organization, url="https://new.example.com/")
    assert stored.event_types == ["endpoint.*", "audit.*"]
    assert b"whsec_" in client.post(_webhook(alice), {"action": "rotate"}).content


@pytest.mark.parametrize(
    "form", [{}, {"url": "http://x.example/", "event_types": "*"}, {"url": "x", "event_types": "y"}]
)
def test_a_bad_address_is_said_and_what_was_typed_stays(form: dict[str, str], alice: Tenant) -> None:
    answer = signed_in(alice).post(_webhooks(alice), form)
    assert answer.status_code == 400 and b'role="alert"' in answer.content
    assert form.get("url", "").encode() in answer.content
    assert Webhook.objects.filter(organization=alice.organization).count() == 1


def test_an_attempt_is_shown_escaped_and_its_delivery_can_be_replayed(alice: Tenant) -> None:
    client = signed_in(alice)
    WebhookAttempt.objects.create(
        organization=alice.organization, delivery=alice.delivery, status_code=500, error="status", response="<script>"
    )
    shown = client.get(_webhook(alice)).content
    assert b"500 status" in shown and b"&lt;script&gt;" in shown
    client.post(_webhook(alice), {"action": "replay", "delivery": alice.delivery.id})
    alice.delivery.refresh_from_db()
    assert alice.delivery.state == "pending"
    assert client.post(_webhook(alice), {"action": "replay", "delivery": alice.delivery.id}).status_code == 409


def test_a_delivery_of_another_webhook_can_not_be_replayed_here(alice: Tenant, bob: Tenant) -> None:
    answer = signed_in(alice).post(_webhook(alice), {"action": "replay", "delivery": bob.delivery.id})
    assert answer.status_code == 404
    bob.delivery.refresh_from_db()
    assert bob.delivery.state == "delivered"


def test_testing_disabling_and_deleting(alice: Tenant) -> None:
    client = signed_in(alice)
    client.post(_webhook(alice), {"action": "test"})
    assert WebhookDelivery.objects.filter(organization=alice.organization).count() == 2
    client.post(_webhook(alice), {"action": "disable"})
    assert client.post(_webhook(alice), {"action": "test"}).status_code == 409
    assert client.post(_webhook(alice), {"action": "delete"}).headers["Location"] == _webhooks(alice)
    assert not Webhook.objects.filter(organization=alice.organization).exists()


def test_developers_see_no_webhooks(alice: Tenant) -> None:
    developer = User.objects.create_user("developer@example.com", None)
    Membership.objects.create(organization=alice.organization, user=developer, role="developer")
    client = Client()
    client.force_login(developer)
    assert client.get(_webhooks(alice)).status_code == 403
    assert client.post(_webhook(alice), {"action": "delete"}).status_code == 403


def test_the_log_is_filtered_and_its_files_are_filtered_alike(alice: Tenant) -> None:
    client = signed_in(alice)
    content = client.get(_audit(alice), {"action": "webhook.*"}).content.decode()
    assert "webhook.create" in content and "endpoint.create" not in content
    link = f"/api/v1/audit-events/export?organization_id={alice.organization.id}&action=webhook.%2A&format=csv"
    assert link.replace("&", "&amp;") in content
    table = client.get(link).content.decode()
    assert "webhook.create" in table and "endpoint.create" not in table


def test_a_day_that_is_none_filters_nothing(alice: Tenant) -> None:
    content = signed_in(alice).get(_audit(alice), {"start": "2026-13-45", "end": "x"}).content.decode()
    assert "endpoint.create" in content


def test_the_chain_is_verified_on_request(alice: Tenant) -> None:
    assert b"The record is whole" in signed_in(alice).get(_audit(alice), {"verify": "1"}).content
