from __future__ import annotations

from typing import Any

import pytest

from control_plane.endpoints.models import ENDPOINT_TRANSITIONS
from control_plane.tenants.placements import generation_of
from tests.control_plane.tenant import MODEL, Tenant


def _create(tenant: Tenant, **changes: Any) -> Any:
    body = {"project_id": tenant.project.id, "name": "second", "model": MODEL} | changes
    return tenant.api.post("/api/v1/endpoints", body)


def test_a_new_endpoint_wants_to_run_and_is_pending(alice: Tenant) -> None:
    before = generation_of(alice.project.id)
    answer = _create(alice, speculation_mode="static", max_lookahead=4)
    made = answer.json()
    assert answer.status_code == 202
    assert (made["desired_state"], made["state"], made["speculation_mode"]) == ("running", "pending", "static")
    assert made["generation"] == generation_of(alice.project.id) == before + 1
    assert answer.headers["ETag"] == made["etag"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": "No Spaces"}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": ""}, "/name"),
        ({"max_lookahead": "4"}, "/max_lookahead"),
        ({"max_lookahead": True}, "/max_lookahead"),
        ({"model": "gpt-99"}, "/model"),
        ({"max_lookahead": -1}, "/max_lookahead"),
        ({"max_lookahead": 10**30}, "/max_lookahead"),
        ({"holdout_rate": 1.5}, "/holdout_rate"),
        ({"holdout_rate": 10**250}, "/holdout_rate"),
        ({"speculation_mode": "turbo"}, "/speculation_mode"),
        ({"project_id": "prj_1"}, "/project_id"),
        ({"surprise": 1}, "/surprise"),
        ({"name": {"a": [1]}}, "/name"),
    ],
)
def test_bad_input_is_a_400_that_names_the_field(alice: Tenant, changes: dict[str, Any], pointer: str) -> None:
    answer = _create(alice, **changes)
    assert answer.status_code == 400, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"name": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"name": "\\ud800"}',
        b"[" * 9999,
        b"9" * 400,
    ],
)
def test_what_is_no_json_object_is_a_400(alice: Tenant, body: bytes) -> None:
    answer = alice.api.client.generic("POST", "/api/v1/endpoints", body, content_type="application/json")
    assert answer.status_code == 400, answer.content


def test_a_body_of_ten_megabytes_is_a_413(alice: Tenant) -> None:
    answer = alice.api.post("/api/v1/endpoints", {"name": "x" * 10_000_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["models/a%00b", "endpoints/%00", "endpoints/ep_%ff", "endpoints/" + "e" * 5000])
def test_a_hostile_path_is_a_404(alice: Tenant, path: str) -> None:
    answer = alice.api.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_unknown_and_doubled_query_parameters_are_400(alice: Tenant) -> None:
    assert alice.api.get("/api/v1/endpoints?colour=red").json()["errors"][0]["pointer"] == "/colour"
    assert alice.api.get("/api/v1/endpoints?limit=1&limit=2").status_code == 400
    assert alice.api.get("/api/v1/endpoints?limit=0").status_code == 400
    assert alice.api.get("/api/v1/endpoints?after=nonsense").status_code == 400


def test_a_name_is_used_once_in_a_project_until_the_endpoint_is_deleted(alice: Tenant, bob: Tenant) -> None:
    assert _create(alice, name="assistant").json()["code"] == "name_in_use"
    assert _create(bob, name="other").status_code == 202
    alice.api.delete(f"/api/v1/endpoints/{alice.endpoint.id}")
    assert _create(alice, name="assistant").status_code == 202


def test_a_change_needs_the_etag_that_was_read(alice: Tenant) -> None:
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    etag = alice.api.get(path).headers["ETag"]
    assert alice.api.patch(path, {"max_lookahead": 2}).status_code == 428
    changed = alice.api.patch(path, {"max_lookahead": 2}, If_Match=etag)
    assert (changed.status_code, changed.json()["max_lookahead"]) == (200, 2)
    assert changed.headers["ETag"] != etag
    late = alice.api.patch(path, {"max_lookahead": 3}, If_Match=etag)
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")


def test_a_change_that_changes_nothing_keeps_the_etag_and_the_generation(alice: Tenant) -> None:
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    before = alice.api.get(path)
    after = alice.api.patch(path, {"max_lookahead": 8}, If_Match=before.headers["ETag"])
    assert after.json() == before.json()


def test_stop_and_start_write_only_what_is_desired(alice: Tenant) -> None:
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    stopped = alice.api.post(f"{path}/stop")
    assert (stopped.status_code, stopped.json()["desired_state"], stopped.json()["state"]) == (
        202,
        "stopped",
        "pending",
    )
    assert alice.api.post(f"{path}/start").json()["desired_state"] == "running"
    alice.api.delete(path)
    assert alice.api.post(f"{path}/start").json()["code"] == "deleting"


def test_pages_follow_each_other_without_gap_or_repetition(alice: Tenant) -> None:
    for number in range(5):
        _create(alice, name=f"e{number}")
    names, cursor = [], ""
    while cursor is not None:
        after = f"&after={cursor}" if cursor else ""
        body = alice.api.get(f"/api/v1/endpoints?limit=2{after}").json()
        names += [item["name"] for item in body["data"]]
        assert body["has_more"] == (body["next_cursor"] is not None)
        cursor = body["next_cursor"]
    assert sorted(names) == ["assistant", "e0", "e1", "e2", "e3", "e4"]


def test_every_state_can_be_reached_and_every_target_is_a_state() -> None:
    targets = set().union(*ENDPOINT_TRANSITIONS.values())
    assert targets <= set(ENDPOINT_TRANSITIONS)
    assert set(ENDPOINT_TRANSITIONS) - targets == {"pending"}
