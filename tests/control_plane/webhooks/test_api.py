"""Making and changing webhooks."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.common.sealing import Unsealable, seal, unseal
from control_plane.tenants.models import AuditEvent
from control_plane.webhooks import sources
from control_plane.webhooks.models import Webhook
from control_plane.webhooks.services import MAX_WEBHOOKS
from tests.control_plane.tenant import Tenant, api_with_role

URL = "https://hooks.example.com/in?token=secret"


def _create(tenant: Tenant, **changes: Any) -> Any:
    body = {"organization_id": tenant.organization.id, "url": URL, "event_types": ["endpoint.*"]} | changes
    return tenant.api.post("/api/v1/webhooks", body)


def test_the_secret_is_shown_once_and_stored_sealed(alice: Tenant) -> None:
    made = _create(alice).json()
    assert made["secret"].startswith("whsec_")
    assert "secret" not in alice.api.get(f"/api/v1/webhooks/{made['id']}").json()
    stored = Webhook.objects.get(organization=alice.organization)
    assert made["secret"] not in stored.secret and unseal(stored.secret) == made["secret"]


def test_the_audit_log_knows_where_but_neither_path_nor_query(alice: Tenant) -> None:
    _create(alice)
    event = AuditEvent.objects.get(organization=alice.organization, action="webhook.create")
    assert event.changes["url"] == "https://hooks.example.com/…"


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "ftp://hooks.example.com/", "hooks.example.com", "https://", "https://a:b@c.example/",
        "https://c.example/#x", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "https://2130706433/",
        "https://c.example:0/", "https://c.example:99999/", "https://\u0000.example/", "https://exa mple.com/",
    ],
)  # fmt: skip
def test_a_url_that_can_not_be_used_is_refused(alice: Tenant, url: str) -> None:
    answer = _create(alice, url=url)
    assert answer.status_code == 400, answer.content
    assert "\x00" in url or answer.json()["errors"][0]["pointer"] == "/url"
    assert not Webhook.objects.filter(organization=alice.organization).exists()


def test_an_event_type_that_nothing_has_is_refused_by_its_place(alice: Tenant) -> None:
    answer = _create(alice, event_types=["endpoint.ready", "endpoint.readyy"])
    assert answer.json()["errors"] == [
        {"pointer": "/event_types/1", "code": "unknown_type", "detail": "No event is of the type 'endpoint.readyy'."}
    ]


def test_there_is_a_limit(alice: Tenant) -> None:
    for _ in range(MAX_WEBHOOKS):
        assert _create(alice).status_code == 201
    assert _create(alice).json()["code"] == "too_many_webhooks"


def test_developers_may_not(alice: Tenant) -> None:
    made = _create(alice).json()
    developer = api_with_role(alice, "developer")
    assert developer.get("/api/v1/webhooks").json()["data"] == []
    assert developer.get(f"/api/v1/webhooks/{made['id']}").status_code == 403
    assert developer.post(f"/api/v1/webhooks/{made['id']}/test").status_code == 403


def test_a_change_without_a_difference_is_none(alice: Tenant) -> None:
    made = _create(alice).json()
    events = AuditEvent.objects.filter(organization=alice.organization).count()
    assert alice.api.patch(f"/api/v1/webhooks/{made['id']}", {"url": URL}).status_code == 200
    assert AuditEvent.objects.filter(organization=alice.organization).count() == events


def test_a_deleted_webhook_is_gone_with_its_log(alice: Tenant) -> None:
    made = _create(alice).json()
    alice.api.post(f"/api/v1/webhooks/{made['id']}/test")
    assert alice.api.delete(f"/api/v1/webhooks/{made['id']}").status_code == 204
    assert alice.api.get("/api/v1/webhook-deliveries").json()["data"] == []


@pytest.mark.parametrize("type_", sources.TYPES)
def test_every_type_can_be_asked_for(type_: str) -> None:
    assert sources.is_pattern(type_)
    assert sources.matches([type_], type_.replace("*", "endpoint.update"))
    assert sources.matches(["*"], type_) and not sources.matches(["webhook.x"], type_)


def test_what_was_sealed_under_another_key_can_not_be_opened(settings: Any) -> None:
    sealed = seal("secret")
    settings.SECRET_KEY = "another"
    with pytest.raises(Unsealable):
        unseal(sealed)
