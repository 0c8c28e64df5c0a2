from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.billing.ingestion import ingest
from control_plane.billing.models import QuarantinedUsage, SequenceProgress, UsageEvent
from control_plane.common.ids import new_id
from dataplane import contracts
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.tenant import Api, Tenant


@contextmanager
def undone() -> Iterator[None]:
    """Everything inside happens on the real database and is rolled back: one example of a property."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _stored(tenant: Tenant) -> set[tuple[str, int, int]]:
    rows = UsageEvent.objects.filter(organization=tenant.organization)
    return set(rows.values_list("event_id", "prompt_tokens", "completion_tokens"))


def test_a_batch_is_stored_and_acknowledged(alice: Tenant) -> None:
    node = FakeNode()
    answer = node.send_usage(sequenced([usage_event(alice, number) for number in range(3)]))
    assert (answer.status_code, answer.json()) == (200, {"acknowledged": {"boot-1": 3}})
    assert len(_stored(alice)) == 3
    row = UsageEvent.objects.filter(organization=alice.organization).order_by("seq").last()
    assert (row.seq, row.node_id, row.accepted, row.finished_at.microsecond) == (3, node.id, 30, 250_000)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_and_any_repetition_of_batches_ends_in_the_same_rows(alice: Tenant, data: st.DataObject) -> None:
    events = sequenced([usage_event(alice, number) for number in range(6)], "a")
    events += sequenced([usage_event(alice, 100 + number) for number in range(4)], "b")
    wire = [contracts.to_dict(event) for event in events]
    batches = data.draw(st.lists(st.lists(st.sampled_from(wire), max_size=5), max_size=5))
    node_id = new_id("node")
    with undone():
        for batch in [*batches, wire[::-1], wire]:
            acknowledged = ingest(node_id, batch)
        assert acknowledged == {"a": 6, "b": 4}
        assert len(_stored(alice)) == UsageEvent.objects.filter(organization=alice.organization).count() == 10
        assert not QuarantinedUsage.objects.exists()


def test_a_gap_holds_the_acknowledgement_back_until_it_is_filled(alice: Tenant, operator: Api) -> None:
    node = FakeNode()
    events = sequenced([usage_event(alice, number) for number in range(4)])
    assert node.send_usage([events[0], events[3]]).json()["acknowledged"] == {"boot-1": 1}
    shown = operator.get(f"/api/v1/nodes/{node.id}").json()["usage_sequences"]
    assert shown == [{"boot_id": "boot-1", "acknowledged": 1, "gaps": [[2, 4]]}]
    assert node.send_usage(events[1:3]).json()["acknowledged"] == {"boot-1": 4}


def test_an_earlier_boots_leftovers_have_their_own_sequence(alice: Tenant) -> None:
    node = FakeNode(boot_id="boot-2")
    old, new = usage_event(alice, 1), usage_event(alice, 2)
    answer = node.send_usage(sequenced([old], "boot-1", 7) + sequenced([new], "boot-2"))
    assert answer.json()["acknowledged"] == {"boot-1": 0, "boot-2": 1}
    assert SequenceProgress.objects.get(boot_id="boot-1").received == [[7, 8]]
    assert len(_stored(alice)) == 2


def _quarantine(node: FakeNode, events: list[Any]) -> Any:
    answer = node.api.post(f"/internal/v1/nodes/{node.id}/usage", {"events": events})
    assert answer.status_code == 200, answer.content
    assert answer.json()["acknowledged"] == {"boot-1": len(events)}
    return QuarantinedUsage.objects.latest("id")


def test_the_same_id_with_another_payload_is_kept_apart_and_seen(alice: Tenant, operator: Api) -> None:
    node = FakeNode()
    first, other = usage_event(alice, 1), usage_event(alice, 1, completion_tokens=9999)
    found = _quarantine(node, contracts.to_dict(sequenced([first, other])))
    assert (found.reason, found.payload["completion_tokens"]) == ("payload_mismatch", 9999)
    assert _stored(alice) == {("evt_" + "1".zfill(26), 101, 51)}
    assert operator.get("/api/v1/quarantined-usage").json()["data"][0]["reason"] == "payload_mismatch"


def test_a_repeated_refusal_is_stored_once(alice: Tenant) -> None:
    node = FakeNode()
    batch = contracts.to_dict(sequenced([usage_event(alice, 1, organization_id=new_id("org"))]))
    _quarantine(node, batch)
    _quarantine(node, batch)
    assert QuarantinedUsage.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"organization_id": "org_00000000000000000000000000"}, "unknown_tenant"),
        ({"project_id": "prj_00000000000000000000000000"}, "unknown_tenant"),
        ({"endpoint_id": "ep_00000000000000000000000000"}, "unknown_endpoint"),
        ({"key_id": "key_00000000000000000000000000"}, "unknown_key"),
        ({"project_id": "nonsense"}, "malformed"),
        ({"prompt_tokens": -1}, "malformed"),
        ({"prompt_tokens": "many"}, "malformed"),
        ({"cached_tokens": 10_000}, "malformed"),
        ({"finished_at": "yesterday"}, "malformed"),
        ({"finished_at": "2026-01-01T00:00:00"}, "malformed"),
        ({"finished_at": "0001-01-01T00:00:00+14:00"}, "malformed"),
        ({"status": "fine"}, "malformed"),
        ({"event_id": "x" * 65}, "malformed"),
        ({"completion_tokens": 10**40}, "malformed"),
    ],
)
def test_what_can_not_be_billed_is_quarantined_with_its_reason(alice: Tenant, change: Any, reason: str) -> None:
    payload = contracts.to_dict(usage_event(alice, 1)) | change
    found = _quarantine(FakeNode(), [{"boot_id": "boot-1", "seq": 1, "event": payload}])
    assert found.reason == reason
    assert found.payload == payload
    assert _stored(alice) == set()


@pytest.mark.parametrize("payload", [None, [], "x", 0])
def test_what_is_no_event_at_all_is_quarantined_and_holds_nobody_up(alice: Tenant, payload: Any) -> None:
    (good,) = contracts.to_dict(sequenced([usage_event(alice, 1)]))
    found = _quarantine(FakeNode(), [good, {"boot_id": "boot-1", "seq": 2, "event": payload}])
    assert (found.reason, found.payload) == ("malformed", payload)
    assert len(_stored(alice)) == 1


def test_a_tenants_endpoint_or_key_does_not_bill_another_tenant(alice: Tenant, bob: Tenant) -> None:
    crossed = usage_event(alice, 1, endpoint_id=bob.endpoint.id)
    assert _quarantine(FakeNode(), contracts.to_dict(sequenced([crossed]))).reason == "unknown_endpoint"


def test_a_place_in_the_sequence_holds_one_event(alice: Tenant) -> None:
    node = FakeNode()
    node.send_usage(sequenced([usage_event(alice, 1)]))
    found = _quarantine(node, contracts.to_dict(sequenced([usage_event(alice, 2)])))
    assert found.reason == "sequence_reused"


@pytest.mark.parametrize(
    "events",
    [None, {}, [1], [{"seq": 1, "event": {}}], [{"boot_id": "b", "seq": 0}], [{"boot_id": "b", "seq": True}]],
)
def test_a_batch_without_places_is_refused_whole(db: None, events: Any) -> None:
    node = FakeNode()
    answer = node.api.post(f"/internal/v1/nodes/{node.id}/usage", {"events": events})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_the_database_refuses_to_change_an_event(alice: Tenant, verb: str) -> None:
    FakeNode().send_usage(sequenced([usage_event(alice, 1)]))
    rows = UsageEvent.objects.filter(organization=alice.organization)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        rows.update(prompt_tokens=0) if verb == "update" else rows.delete()
