"""Consent, speculators, runs and deletion through the management API."""

import json

import pytest

from control_plane.common.object_store import object_store
from control_plane.speculators.services import ensure_speculator
from control_plane.training.models import TrafficSegment, TrainingRun
from control_plane.training.services import discover_segments
from tests.control_plane import learning
from tests.control_plane.learning import put_segment
from tests.control_plane.tenant import api_with_role

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner(alice):
    speculator = ensure_speculator(alice.project, alice.endpoint.model_id)
    return learning.Tenant(alice.project, alice.endpoint, speculator)


def test_consent_is_off_until_it_is_given(alice):
    path = f"/api/v1/projects/{alice.project.id}/traffic-policy"
    assert alice.api.get(path).json()["capture"] is False
    given = alice.api.put(path, {"capture": True, "sample_rate": 0.5, "retention_days": 7})
    assert given.status_code == 200
    assert {name: alice.api.get(path).json()[name] for name in ("capture", "sample_rate", "retention_days")} == {
        "capture": True, "sample_rate": 0.5, "retention_days": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/capture"),
        ({"capture": "maybe"}, "/capture"),
        ({"capture": True, "sample_rate": 2}, "/sample_rate"),
        ({"capture": True, "retention_days": 0}, "/retention_days"),
        ({"capture": True, "share": True}, "/share"),
    ],
)
def test_a_bad_policy_names_its_field(alice, body, pointer):
    answer = alice.api.put(f"/api/v1/projects/{alice.project.id}/traffic-policy", body)
    assert answer.status_code == 400 and answer.json()["errors"][0]["pointer"] == pointer


def test_only_owners_and_admins_give_consent(alice):
    answer = api_with_role(alice, "developer").put(
        f"/api/v1/projects/{alice.project.id}/traffic-policy", {"capture": True}
    )
    assert answer.status_code == 403


def test_a_speculator_shows_its_active_version(alice, learner):
    path = f"/api/v1/speculators/{learner.speculator.id}"
    assert alice.api.get(path).json()["active_version_id"] is None
    version = learning.make_version(learner, state="active")
    assert alice.api.get(path).json()["active_version_id"] == version.id
    listed = alice.api.get("/api/v1/speculators").json()["data"]
    assert [item["active_version_id"] for item in listed] == [version.id]


def test_a_version_is_promoted_rolled_back_and_pinned(alice, learner):
    first, second = learning.make_version(learner), learning.make_version(learner)
    for version in (first, second):
        answer = alice.api.post(f"/api/v1/speculator-versions/{version.id}/promote")
        assert answer.status_code == 200 and answer.json()["state"] == "active"
    back = alice.api.post(f"/api/v1/speculators/{learner.speculator.id}/rollback", {"reason": "felt slow"})
    assert back.json()["active_version_id"] == first.id
    assert alice.api.get(f"/api/v1/speculator-versions/{second.id}").json()["state_reason"] == {
        "code": "rolled_back", "message": "felt slow",
    }  # fmt: skip
    assert alice.api.post(f"/api/v1/speculator-versions/{second.id}/pin").json()["state"] == "active"
    assert alice.api.get(f"/api/v1/speculators/{learner.speculator.id}").json()["frozen"] is True
    assert alice.api.post(f"/api/v1/speculators/{learner.speculator.id}/thaw").json()["frozen"] is False


def test_versions_are_listed_with_their_evidence_and_filtered_by_state(alice, learner):
    learning.make_version(learner, state="active")
    learning.make_version(learner)
    active = alice.api.get("/api/v1/speculator-versions?state=active").json()["data"]
    assert [version["number"] for version in active] == [1]
    assert active[0]["evaluation"]["candidate"]["acceptance_length"] == 3.0 and active[0]["gate"]
    assert len(alice.api.get("/api/v1/speculator-versions").json()["data"]) == 2
    events = alice.api.get(f"/api/v1/speculator-versions/{active[0]['id']}/events").json()["data"]
    assert [event["to_state"] for event in events] == ["active", "eligible", "verifying", "uploading"]


def test_rolling_back_nothing_is_a_conflict(alice, learner):
    answer = alice.api.post(f"/api/v1/speculators/{learner.speculator.id}/rollback")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_active")


def test_a_run_is_started_seen_and_cancelled(alice, learner):
    body = {"speculator_id": learner.speculator.id}
    assert alice.api.post("/api/v1/training-runs", body).json()["code"] == "no_consent"
    learner.consent()
    made = alice.api.post("/api/v1/training-runs", body, Idempotency_Key="once")
    assert made.status_code == 202 and made.json()["state"] == "queued"
    assert alice.api.post("/api/v1/training-runs", body, Idempotency_Key="once").json() == made.json()
    assert alice.api.post("/api/v1/training-runs", body).json()["code"] == "run_open"
    path = f"/api/v1/training-runs/{made.json()['id']}"
    assert alice.api.get(path).json()["trigger"] == "manual"
    assert alice.api.post(path + "/cancel").json()["state"] == "cancelled"
    assert alice.api.post(path + "/cancel").status_code == 409
    assert [event["to_state"] for event in alice.api.get(path + "/events").json()["data"]] == ["cancelled", "queued"]


def test_an_end_users_traffic_is_deleted_once_under_one_key_and_never_named(alice, learner):
    learner.consent()
    path, body = f"/api/v1/projects/{alice.project.id}/traffic-erasures", {"end_user": "jane@example.com"}
    assert alice.api.post(path + "?validate_only=true", body).status_code == 200
    assert not alice.project.erasure_receipts.exists()
    made = alice.api.post(path, body, Idempotency_Key="once")
    assert made.status_code == 202 and made.json()["end_user_id"].startswith("eu_")
    assert alice.api.post(path, body, Idempotency_Key="once").json() == made.json()
    assert alice.project.erasure_receipts.count() == 1
    wrong = alice.api.post(path, {"end_user": ""}).json()
    assert wrong["errors"][0]["pointer"] == "/end_user"
    events = alice.api.get(f"/api/v1/audit-events?organization_id={alice.organization.id}").content.decode()
    assert "traffic.delete_end_user" in events and "jane@example.com" not in events
    assert api_with_role(alice, "developer").post(path, body).status_code == 403


def test_an_export_is_for_those_who_manage_and_is_audited(alice, learner, s3_settings):
    path = f"/api/v1/projects/{alice.project.id}/traffic-export"
    learner.consent()
    put_segment(object_store(), learner, records=2)
    discover_segments(learner.project.traffic_policy, object_store(), lookback_days=3)
    answer = alice.api.get(path)
    assert answer.status_code == 200 and answer["Content-Type"].startswith("application/jsonl")
    assert [json.loads(line)["output_tokens"] for line in answer.content.splitlines()] == [[4, 5], [4, 5]]
    assert "x-slipstream-next-after" not in answer
    assert alice.api.get(path + "?end_user_id=jane").status_code == 400
    assert api_with_role(alice, "developer").get(path).status_code == 403
    events = alice.api.get("/api/v1/audit-events?action=traffic.export").json()["data"]
    assert [event["changes"]["records"] for event in events] == [2]


def test_a_viewer_sees_runs_but_starts_none(alice, learner):
    viewer = api_with_role(alice, "viewer")
    learner.consent()
    assert viewer.get("/api/v1/training-runs").status_code == 200
    assert viewer.post("/api/v1/training-runs", {"speculator_id": learner.speculator.id}).status_code == 403
    assert not TrainingRun.objects.filter(project=alice.project).exists()


def test_stored_traffic_is_counted_and_deleted_with_a_receipt(alice, learner):
    path = f"/api/v1/projects/{alice.project.id}/traffic"
    assert alice.api.get(path).json()["records"] == 0
    version = learning.make_version(learner, state="active")
    receipt = alice.api.delete(path)
    assert receipt.status_code == 202 and receipt.json()["retired_versions"] == [version.id]
    assert alice.api.get(f"/api/v1/projects/{alice.project.id}/traffic-erasures").json()["data"] == [receipt.json()]
    assert alice.api.get(f"/api/v1/speculators/{learner.speculator.id}").json()["active_version_id"] is None
    assert not TrafficSegment.objects.filter(project=alice.project).exists()


def test_lists_take_a_constant_number_of_queries(alice, learner, django_assert_max_num_queries):
    for _ in range(5):
        learning.make_version(learner)
    for path in ("speculators", "speculator-versions", "training-runs"):
        with django_assert_max_num_queries(8):
            assert alice.api.get(f"/api/v1/{path}").status_code == 200
