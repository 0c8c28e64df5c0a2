"""Reading the audit log: filters, files, and the chain's verification."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from control_plane.tenants import audit
from control_plane.tenants.masking import mask
from control_plane.tenants.models import AuditEvent
from tests.control_plane.tenant import Tenant

PATH = "/api/v1/audit-events"


def _record(tenant: Tenant, number: int = 1, **values: Any) -> list[AuditEvent]:
    event: dict[str, Any] = {"actor": "system", "action": "test.done", "target": "x"} | values
    return [audit.record(tenant.organization.id, **event) for _ in range(number)]


def _found(tenant: Tenant, query: str) -> list[Any]:
    answer = tenant.api.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.content
    return [event["id"] for event in answer.json()["data"]]


def test_each_filter_finds_what_it_names(alice: Tenant) -> None:
    (one,), (other,) = _record(alice, target="thing_1"), _record(alice, actor="usr_x", action="test.undone")
    assert _found(alice, "action=test.done") == [one.id]
    assert _found(alice, "action=test.*") == [other.id, one.id]
    assert _found(alice, "actor=usr_x") == [other.id]
    assert _found(alice, "target=thing_1") == [one.id]
    moment = other.at.isoformat().replace("+", "%2B")
    assert _found(alice, f"action=test.*&start={moment}") == [other.id]
    assert _found(alice, f"action=test.*&end={moment}") == [one.id]


def test_a_percent_sign_in_a_filter_is_only_a_percent_sign(alice: Tenant) -> None:
    _record(alice)
    assert _found(alice, "action=%25.*") == []


def test_an_end_before_the_start_is_refused(alice: Tenant) -> None:
    answer = alice.api.get(f"{PATH}?start=2026-02-01T00:00:00Z&end=2026-01-01T00:00:00Z")
    assert answer.json()["errors"][0]["pointer"] == "/end"


def test_the_export_has_every_event_in_order_and_can_be_continued(alice: Tenant) -> None:
    _record(alice, changes={"name": ["a", "=cmd()"]})
    lines = alice.api.get(f"{PATH}/export").content.decode().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["changes"] == {"name": ["a", "=cmd()"]}
    rest = alice.api.get(f"{PATH}/export?after_number={len(events) - 1}").content.decode().splitlines()
    assert rest == lines[-1:]
    table = list(csv.DictReader(io.StringIO(alice.api.get(f"{PATH}/export?format=csv").content.decode())))
    assert [row["sha256"] for row in table] == [event["sha256"] for event in events]


def test_a_cell_that_a_spreadsheet_would_compute_is_made_plain(alice: Tenant) -> None:
    _record(alice, target="=1+1")
    answer = alice.api.get(f"{PATH}/export?format=csv&target=%3D1%2B1")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert next(csv.DictReader(io.StringIO(answer.content.decode())))["target"] == "'=1+1"


def test_a_whole_chain_is_said_to_be_whole_and_can_be_checked_in_parts(alice: Tenant) -> None:
    last = _record(alice, 3)[-1]
    found = alice.api.get(f"{PATH}/verification").json()
    assert (found["whole"], found["first_broken"], found["next_after_number"]) == (True, None, None)
    assert (found["checked"], found["last_number"], found["head_sha256"]) == (last.number, last.number, last.sha256)
    part = audit.verify(alice.organization.id, limit=2)
    assert (part.checked, part.next_after) == (2, 2)
    rest = audit.verify(alice.organization.id, after=2)
    assert (rest.checked, rest.head_sha256) == (last.number - 2, last.sha256)


@pytest.mark.parametrize(
    "forged",
    [
        {"actor": "somebody else"},
        {"changes": {"a": 2}},
        {"number": 100},
        {"at": timezone.now() - timedelta(days=1)},
        {"previous_sha256": "0" * 64},
        {"sha256": "0" * 64},
    ],
)
def test_the_first_event_that_is_not_as_it_was_hashed_is_named(alice: Tenant, forged: dict[str, Any]) -> None:
    """The table refuses changes, so the forgery is inserted: not what its hash says, or out of place."""
    last = _record(alice)[0]
    event = AuditEvent(
        organization=alice.organization,
        number=last.number + 1,
        at=timezone.now(),
        actor="system",
        action="test.done",
        target="x",
        changes={"a": 1},
        previous_sha256=last.sha256,
    )
    event.sha256 = audit.sha256_of(event)
    for name, value in forged.items():
        setattr(event, name, value)
    event.save(force_insert=True)
    found = alice.api.get(f"{PATH}/verification").json()
    assert not found["whole"]
    assert found["first_broken"] == {"id": event.id, "number": event.number}
    assert (found["last_number"], found["head_sha256"]) == (last.number, last.sha256)


@pytest.mark.parametrize(
    ("changes", "masked"),
    [
        ({"password": ["old", "new"]}, {"password": ["***", "***"]}),
        ({"client_secret": "x", "name": "x"}, {"client_secret": "***", "name": "x"}),
        ({"note": "key sls_live_AbCdEfGhIjKl_0123456789"}, {"note": "key ***"}),
        ({"note": ["Bearer abcdefghijklmnopqrstuvwxyz"]}, {"note": ["***"]}),
        ({"email": "somebody@example.com"}, {"email": "s…@example.com"}),
        ({"deep": {"token": "x", "list": ["a@b.example"]}}, {"deep": {"token": "***", "list": ["a…@b.example"]}}),
        ({"overlap_seconds": 3, "max_tokens": 7, "token": ""}, {"overlap_seconds": 3, "max_tokens": 7, "token": ""}),
    ],
)
def test_secrets_and_addresses_are_masked(changes: dict[str, Any], masked: dict[str, Any]) -> None:
    assert mask(changes) == masked


def test_what_is_recorded_is_masked_and_hashed_as_it_is_stored(alice: Tenant) -> None:
    (event,) = _record(alice, changes={"password": "hunter2", "email": "eve@example.com"})
    event.refresh_from_db()
    assert event.changes == {"password": "***", "email": "e…@example.com"}
    assert audit.first_broken(alice.organization.id) is None
