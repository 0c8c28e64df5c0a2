"""From a change to a signed request, exactly one delivery each; retries, replays, and what ends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook as Verifier

from control_plane.endpoints.services import set_desired_state
from control_plane.tenants.models import AuditEvent
from control_plane.tenants.services import update_project
from control_plane.webhooks import dispatch, services
from control_plane.webhooks.models import Occurrence, Webhook, WebhookAttempt, WebhookDelivery
from tests.control_plane.tenant import Tenant, make_tenant
from tests.control_plane.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE = True
    with receiving() as found:
        yield found


def _webhook(tenant: Tenant, receiver: Receiver, *types: str) -> tuple[Webhook, str]:
    found = services.create_webhook(
        tenant.organization, url=receiver.url, event_types=list(types) or ["endpoint.*"], actor=tenant.user.id
    )
    Occurrence.objects.unscoped().delete()  # of its own creation
    return found


def _note(tenant: Tenant, message: str = "") -> None:
    from control_plane.common.states import record_event

    record_event(tenant.endpoint, before=tenant.endpoint.state, code="noted", message=message)


def _deliveries(tenant: Tenant) -> list[WebhookDelivery]:
    return list(WebhookDelivery.objects.filter(organization=tenant.organization).order_by("id"))


def _make_due(tenant: Tenant) -> None:
    rows = WebhookDelivery.objects.filter(organization=tenant.organization, state="pending")
    rows.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def test_a_change_of_state_arrives_signed_once(alice: Tenant, receiver: Receiver) -> None:
    _, secret = _webhook(alice, receiver)
    _note(alice, "hello")
    assert dispatch.dispatch() == 1
    assert dispatch.dispatch() == 0
    ((headers, content),) = receiver.requests
    told = Verifier(secret).verify(content, headers)
    assert told["type"] == "endpoint.note"
    assert told["data"]["id"] == alice.endpoint.id
    assert told["data"]["message"] == "hello"
    (delivery,) = _deliveries(alice)
    assert headers["webhook-id"] == delivery.event_id
    assert (delivery.state, delivery.attempts) == ("delivered", 1)
    attempt = WebhookAttempt.objects.get(organization=alice.organization)
    assert (attempt.status_code, attempt.error, attempt.response) == (200, "", "thanks")


def test_audit_events_arrive_without_their_changes(alice: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver, "audit.project.update")
    update_project(alice.project, {"name": "a name that is nobody's business"}, actor=alice.user.id)
    set_desired_state(alice.endpoint, "stopped", actor=alice.user.id)  # not asked for
    dispatch.dispatch()
    told = [json.loads(content) for _, content in receiver.requests]
    assert [event["type"] for event in told] == ["audit.project.update"]
    event = AuditEvent.objects.filter(organization=alice.organization, action="project.update").get()
    assert told[0]["data"]["id"] == event.id
    assert "nobody" not in str(told)


def test_another_organizations_events_never_arrive(alice: Tenant, bob: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver, "*")
    _note(bob)
    update_project(bob.project, {"name": "x"}, actor=bob.user.id)
    dispatch.dispatch()
    assert receiver.requests == [] and _deliveries(alice) == _deliveries(bob) == []


def test_what_nobody_listens_to_leaves_no_trace(alice: Tenant) -> None:
    _note(alice)
    assert not Occurrence.objects.unscoped().exists()


def test_what_was_rolled_back_did_not_happen(alice: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver)
    with transaction.atomic():
        _note(alice)
        transaction.set_rollback(True)
    assert dispatch.announce() == 0


@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_late_is_told_although_a_later_one_was_told_before(receiver: Receiver) -> None:
    """Reading the event table above the highest id seen would lose the first."""
    alice = make_tenant("alice")
    _webhook(alice, receiver)
    written, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            _note(alice, "first id")
            written.set()
            may_commit.wait(10)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(10)
    _note(alice, "second id")
    dispatch.dispatch()
    may_commit.set()
    thread.join()
    dispatch.dispatch()
    told = [json.loads(content)["data"]["message"] for _, content in receiver.requests]
    assert told == ["second id", "first id"]


@pytest.mark.django_db(transaction=True)
def test_dispatchers_that_run_at_the_same_time_send_everything_once(receiver: Receiver) -> None:
    alice = make_tenant("alice")
    _webhook(alice, receiver)
    for number in range(12):
        _note(alice, str(number))

    def work() -> None:
        for _ in range(6):
            dispatch.dispatch()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while dispatch.dispatch():
        pass
    told = sorted(int(json.loads(content)["data"]["message"]) for _, content in receiver.requests)
    assert told == list(range(12))


def test_a_failure_is_tried_again_with_the_same_id_and_body(alice: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver)
    _note(alice)
    receiver.status = 500
    dispatch.dispatch()
    (delivery,) = _deliveries(alice)
    assert (delivery.state, delivery.attempts) == ("pending", 1)
    assert delivery.next_attempt_at is not None
    assert timedelta(seconds=4) < delivery.next_attempt_at - timezone.now() < timedelta(seconds=7)
    assert dispatch.dispatch() == 0, "not before its time"
    _make_due(alice)
    receiver.status = 204
    assert dispatch.dispatch() == 1
    first, second = receiver.requests
    assert first[1] == second[1] and first[0]["webhook-id"] == second[0]["webhook-id"]
    assert _deliveries(alice)[0].state == "delivered"


def test_a_delivery_is_given_up_after_more_than_a_day(alice: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver)
    _note(alice)
    receiver.status = 503
    dispatch.announce()
    waited = timedelta()
    for number in range(dispatch.MAX_ATTEMPTS):
        _make_due(alice)
        assert dispatch.deliver_due() == 1
        (delivery,) = _deliveries(alice)
        assert delivery.attempts == number + 1
        if delivery.next_attempt_at is not None:
            waited += delivery.next_attempt_at - timezone.now()
    assert waited > timedelta(hours=24)
    assert (delivery.state, delivery.state_code, delivery.next_attempt_at) == ("failed", "status", None)
    assert WebhookAttempt.objects.filter(organization=alice.organization).count() == dispatch.MAX_ATTEMPTS


def test_a_sender_that_died_is_taken_over_when_its_lease_is_over(alice: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver)
    _note(alice)
    dispatch.announce()
    (delivery,) = _deliveries(alice)
    assert dispatch._claim(delivery.id) is not None
    assert dispatch._claim(delivery.id) is None and dispatch.deliver_due() == 0
    _make_due(alice)
    assert dispatch.deliver_due() == 1


def test_a_replay_sends_the_same_event_again(alice: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver)
    _note(alice)
    dispatch.dispatch()
    (delivery,) = _deliveries(alice)
    answer = alice.api.post(f"/api/v1/webhook-deliveries/{delivery.id}/replay")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert alice.api.post(f"/api/v1/webhook-deliveries/{delivery.id}/replay").status_code == 409
    dispatch.dispatch()
    first, second = receiver.requests
    assert first[1] == second[1] and first[0]["webhook-id"] == second[0]["webhook-id"]
    shown = alice.api.get(f"/api/v1/webhook-deliveries/{delivery.id}").json()
    assert shown["state"] == "delivered" and len(shown["attempt_log"]) == 2


def test_after_a_rotation_both_secrets_sign_until_the_overlap_ends(alice: Tenant, receiver: Receiver) -> None:
    webhook, old = _webhook(alice, receiver)
    path = f"/api/v1/webhooks/{webhook.id}"
    new = alice.api.post(f"{path}/rotate-secret", {"overlap_seconds": 600}).json()["secret"]
    assert new != old
    alice.api.post(f"{path}/test")
    dispatch.dispatch()
    headers, content = receiver.requests[-1]
    assert Verifier(old).verify(content, headers)["type"] == Verifier(new).verify(content, headers)["type"]
    Webhook.objects.filter(organization=alice.organization).update(previous_secret_expires_at=timezone.now())
    alice.api.post(f"{path}/test")
    dispatch.dispatch()
    headers, content = receiver.requests[-1]
    assert Verifier(new).verify(content, headers)
    assert len(headers["webhook-signature"].split()) == 1


def test_a_receiver_that_fails_for_days_is_disabled_and_can_be_enabled_again(alice: Tenant, receiver: Receiver) -> None:
    webhook, _ = _webhook(alice, receiver)
    receiver.status = 500
    Webhook.objects.filter(organization=alice.organization).update(failing_since=timezone.now() - timedelta(days=6))
    _note(alice)
    dispatch.dispatch()
    webhook.refresh_from_db()
    assert (webhook.enabled, webhook.disabled_reason) == (False, "failing")
    assert AuditEvent.objects.filter(organization=alice.organization, action="webhook.disable").exists()
    _make_due(alice)
    assert dispatch.deliver_due() == 0
    assert alice.api.post(f"/api/v1/webhooks/{webhook.id}/test").json()["code"] == "webhook_disabled"
    enabled = alice.api.patch(f"/api/v1/webhooks/{webhook.id}", {"enabled": True}).json()
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (True, "", None)
    receiver.status = 200
    assert dispatch.deliver_due() == 1


def test_a_receiver_that_is_gone_is_not_asked_again(alice: Tenant, receiver: Receiver) -> None:
    webhook, _ = _webhook(alice, receiver)
    receiver.status = 410
    _note(alice)
    dispatch.dispatch()
    webhook.refresh_from_db()
    assert (webhook.enabled, webhook.disabled_reason) == (False, "gone")
    assert _deliveries(alice)[0].state == "failed"


def test_a_slow_webhook_does_not_take_all_places(alice: Tenant, bob: Tenant, receiver: Receiver) -> None:
    _webhook(alice, receiver)
    _webhook(bob, receiver)
    for _ in range(50):
        _note(alice)
    _note(bob)
    dispatch.announce()
    places = [WebhookDelivery.objects.unscoped().get(pk=found).organization_id for found in dispatch._due()]
    assert sorted(places) == sorted([alice.organization.id] * dispatch.AT_ONCE + [bob.organization.id])


def test_a_private_address_is_refused_when_it_is_used(alice: Tenant, receiver: Receiver, settings: Any) -> None:
    _webhook(alice, receiver)
    settings.SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE = False
    _note(alice)
    dispatch.dispatch()
    assert receiver.requests == []
    assert WebhookAttempt.objects.get(organization=alice.organization).error == "forbidden_address"
