"""Rollouts as a tenant sees them: over the API, with nodes that report over HTTP, on the real database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from control_plane.endpoints.models import Deployment, Rollout
from control_plane.fleet.reconciler import reconcile
from control_plane.fleet.rollouts import advance
from control_plane.speculators import services as speculators
from control_plane.tenants.models import AuditEvent
from dataplane.contracts import EndpointConfig, LoadedVersion
from tests.control_plane import learning, traffic
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import Tenant

pytestmark = pytest.mark.django_db

QUICK = {"strategy": "canary", "steps_percent": [10, 50, 100], "observe_seconds": 0, "min_requests": 50}


@pytest.fixture
def node(alice: Tenant) -> FakeNode:
    node = FakeNode()
    node.heartbeat()
    reconcile()
    return node


def _start(tenant: Tenant, rollout: dict[str, Any] | None = None, **changes: Any) -> Any:
    body = {"endpoint_id": tenant.endpoint.id, "deployment": changes or {"max_lookahead": 4}}
    return tenant.api.post("/api/v1/rollouts", body | ({"rollout": rollout} if rollout else {}))


def _begin(tenant: Tenant, node: FakeNode, **changes: Any) -> dict[str, Any]:
    """A quick canary whose first step is served."""
    made = _start(tenant, QUICK, **changes)
    assert made.status_code == 202, made.content
    for _ in range(3):
        _serve(node)
    return _read(tenant, made.json()["id"])


def _serve(node: FakeNode, *windows: Any) -> None:
    """A heartbeat, after which the sweep comes by."""
    assert node.heartbeat(windows=windows).status_code == 204
    advance()


def _read(tenant: Tenant, rollout_id: str) -> dict[str, Any]:
    found: dict[str, Any] = tenant.api.get(f"/api/v1/rollouts/{rollout_id}").json()
    return found


def _both(tenant: Tenant, rollout: dict[str, Any], **target: Any) -> tuple[Any, Any]:
    source = traffic.window(tenant, rollout["source_deployment_id"], requests=400)
    return source, traffic.window(tenant, rollout["target_deployment_id"], **target)


def _config(node: FakeNode) -> EndpointConfig:
    (found,) = node.read_snapshot().endpoints
    return found


def _weights(node: FakeNode) -> list[int]:
    return [deployment.weight for deployment in _config(node).deployments]


def test_a_good_canary_takes_over_step_by_step(alice: Tenant, node: FakeNode) -> None:
    before = _config(node)
    rollout = _begin(alice, node)
    assert (rollout["state"], rollout["step"]) == ("observing", 1)
    assert _weights(node) == [9_000, 1_000]
    assert [item.max_lookahead for item in _config(node).deployments] == [8, 4]
    shares = []
    for _ in range(12):
        _serve(node, *_both(alice, rollout))
        shares.append(_weights(node))
        if _read(alice, rollout["id"])["state"] == "completed":
            break
    assert [5_000, 5_000] in shares and [0, 10_000] in shares
    after = _config(node)
    assert after.deployments == () and after.deployment_id == rollout["target_deployment_id"] != before.deployment_id
    endpoint = alice.api.get(f"/api/v1/endpoints/{alice.endpoint.id}").json()
    assert (endpoint["max_lookahead"], endpoint["rollout_id"]) == (4, None)
    assert endpoint["deployment_id"] == after.deployment_id


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        ({"errors": 60}, "The error rate rose from 0.0% to 60.0%"),
        ({"seconds_per_token": 0.04}, "The time per token rose from 0.02 s to 0.04 s"),
        ({"first_token": traffic.moments(0.9, 100)}, "The time to the first token rose from 0.2 s to 0.9 s"),
    ],
)
def test_a_bad_canary_is_aborted_and_its_traffic_goes_back(
    alice: Tenant, node: FakeNode, bad: dict[str, Any], because: str
) -> None:
    rollout = _begin(alice, node)
    _serve(node, *_both(alice, rollout, **bad))
    aborting = _read(alice, rollout["id"])
    assert (aborting["state"], aborting["state_reason"]["code"]) == ("aborting", "regressed")
    assert _weights(node) == [10_000, 0]
    _serve(node)
    aborted = _read(alice, rollout["id"])
    assert aborted["state"] == "aborted"
    assert aborted["state_reason"]["message"].startswith(because), aborted["state_reason"]
    assert any(measure["worse"] for measure in aborted["evidence"]["measures"])
    assert aborted["evidence"]["after"]["requests"] == 100
    assert _config(node).deployment_id == rollout["source_deployment_id"] and _config(node).deployments == ()
    assert alice.api.get(f"/api/v1/endpoints/{alice.endpoint.id}").json()["max_lookahead"] == 8
    actions = AuditEvent.objects.filter(organization=alice.organization).values_list("action", flat=True)
    assert {"rollout.start", "rollout.abort"} <= set(actions)


def test_a_shorter_acceptance_aborts_only_where_the_policy_is_the_same(alice: Tenant, node: FakeNode) -> None:
    other = _begin(alice, node, max_lookahead=2)
    _serve(node, *_both(alice, other, acceptance=1.2))
    assert _read(alice, other["id"])["state"] != "aborting"
    alice.api.post(f"/api/v1/rollouts/{other['id']}/abort")
    _serve(node)
    same = _begin(alice, node, holdout_rate=0.2)
    _serve(node, *_both(alice, same, acceptance=1.2))
    assert "acceptance length fell from 2.50 to 1.20" in _read(alice, same["id"])["state_reason"]["message"]


def test_too_few_requests_decide_nothing(alice: Tenant, node: FakeNode) -> None:
    rollout = _begin(alice, node)
    _serve(node, *_both(alice, rollout, requests=10, errors=10))
    assert (_read(alice, rollout["id"])["state"], _weights(node)) == ("observing", [9_000, 1_000])


def test_a_node_that_has_not_applied_the_shares_holds_the_rollout_up(alice: Tenant, node: FakeNode) -> None:
    old = node.read_snapshot().generation
    made = _start(alice, QUICK).json()
    for _ in range(3):
        node.heartbeat(applied=old)
        advance()
    assert _read(alice, made["id"])["state"] == "surging"
    past = timezone.now() - timedelta(hours=1)
    Rollout.objects.filter(project=alice.project).update(state_changed_at=past)
    advance()
    failed = _read(alice, made["id"])
    assert (failed["state"], failed["state_reason"]["code"]) == ("failed", "not_loaded")
    assert _weights(node) == []


def test_a_node_that_refuses_the_new_deployment_aborts_it(alice: Tenant, node: FakeNode) -> None:
    made = _start(alice, QUICK).json()
    version = "spv_00000000000000000000000001"
    refused = LoadedVersion(alice.endpoint.id, version, "refused", "bad digest", made["target_deployment_id"])
    node.heartbeat(loaded=(refused,))
    advance()
    node.heartbeat()
    advance()
    ended = _read(alice, made["id"])
    assert (ended["state"], ended["state_reason"]["code"]) == ("aborted", "refused")
    assert "bad digest" in ended["state_reason"]["message"]


def test_a_pause_keeps_the_shares_and_still_guards_them(alice: Tenant, node: FakeNode) -> None:
    rollout = _begin(alice, node)
    path = f"/api/v1/rollouts/{rollout['id']}"
    assert alice.api.post(f"{path}/pause").json()["state"] == "paused"
    _serve(node, *_both(alice, rollout))
    assert _weights(node) == [9_000, 1_000]
    assert alice.api.post(f"{path}/pause").json()["code"] == "illegal_transition"
    assert alice.api.post(f"{path}/resume").json()["state"] == "shifting"
    assert alice.api.post(f"{path}/resume").status_code == 409
    alice.api.post(f"{path}/pause")
    _serve(node, *_both(alice, rollout, requests=400, errors=200))
    assert _read(alice, rollout["id"])["state"] == "aborting"


def test_promoting_now_skips_what_is_left(alice: Tenant, node: FakeNode) -> None:
    rollout = _begin(alice, node)
    assert alice.api.post(f"/api/v1/rollouts/{rollout['id']}/promote").json()["hurried"] is True
    for _ in range(3):
        _serve(node)
    ended = _read(alice, rollout["id"])
    assert (ended["state"], ended["step"]) == ("completed", 3)
    assert alice.api.post(f"/api/v1/rollouts/{rollout['id']}/promote").status_code == 409


def test_an_endpoint_has_one_open_rollout(alice: Tenant, node: FakeNode) -> None:
    _begin(alice, node)
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    assert _start(alice, QUICK, max_lookahead=1).json()["code"] == "rollout_open"
    assert alice.api.patch(path, {"max_lookahead": 1}, If_Match="*").json()["code"] == "rollout_open"
    assert alice.api.patch(path, {"max_replicas": 2}, If_Match="*").status_code == 200, "replicas are not rolled out"


def test_a_policy_change_makes_a_deployment_and_rollback_returns_further_each_time(
    alice: Tenant, node: FakeNode
) -> None:
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    for lookahead in (4, 2):
        changed = alice.api.patch(path, {"max_lookahead": lookahead}, If_Match="*").json()
        assert changed["max_lookahead"] == lookahead
    listed = alice.api.get(f"/api/v1/deployments?endpoint_id={alice.endpoint.id}").json()["data"]
    assert [(row["number"], row["max_lookahead"], row["weight_percent"], row["active"]) for row in listed] == [
        (3, 2, 100.0, True),
        (2, 4, 0.0, False),
        (1, 8, 0.0, False),
    ]
    for lookahead in (4, 8):
        back = alice.api.post(f"{path}/rollback")
        assert (back.status_code, back.json()["state"], back.json()["trigger"]) == (202, "completed", "rollback")
        assert alice.api.get(path).json()["max_lookahead"] == lookahead
    assert alice.api.post(f"{path}/rollback").json()["code"] == "nothing_to_roll_back"
    assert Deployment.objects.filter(endpoint=alice.endpoint).count() == 3, "a rollback makes no deployment"


def test_a_rollback_aborts_an_open_rollout(alice: Tenant, node: FakeNode) -> None:
    rollout = _begin(alice, node)
    back = alice.api.post(f"/api/v1/endpoints/{alice.endpoint.id}/rollback").json()
    assert (back["id"], back["state"]) == (rollout["id"], "aborting")
    assert _weights(node) == [10_000, 0]


def test_stopping_an_endpoint_aborts_its_rollout(alice: Tenant, node: FakeNode) -> None:
    rollout = _begin(alice, node)
    alice.api.post(f"/api/v1/endpoints/{alice.endpoint.id}/stop")
    _serve(node)
    assert _read(alice, rollout["id"])["state_reason"]["code"] == "endpoint_stopped"
    assert _start(alice, QUICK, max_lookahead=1).json()["code"] == "endpoint_stopped"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"deployment": {"max_lookahead": 99}}, "/deployment/max_lookahead"),
        ({"deployment": {"speculator_version_id": "spv_" + "0" * 26}}, "/deployment/speculator_version_id"),
        ({"rollout": {"strategy": "canary", "steps_percent": [50]}}, "/rollout/steps_percent"),
        ({"rollout": {"steps_percent": [100]}}, "/rollout/strategy"),
        ({"deployment": {"max_lookahead": 8}}, "/deployment"),
    ],
)
def test_bad_input_names_the_field_and_writes_nothing(
    alice: Tenant, node: FakeNode, changes: dict[str, Any], pointer: str
) -> None:
    body = {"endpoint_id": alice.endpoint.id, "deployment": {"max_lookahead": 4}} | changes
    answer = alice.api.post("/api/v1/rollouts", body)
    assert answer.status_code in (400, 409), answer.content
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert Deployment.objects.filter(endpoint=alice.endpoint).count() == 1


def test_a_stale_etag_starts_nothing(alice: Tenant, node: FakeNode) -> None:
    body = {"endpoint_id": alice.endpoint.id, "deployment": {"max_lookahead": 4}}
    assert alice.api.post("/api/v1/rollouts", body, If_Match='"999"').status_code == 412
    assert alice.api.post(f"/api/v1/endpoints/{alice.endpoint.id}/rollback", If_Match='"999"').status_code == 412


# ---------------------------------------------------------------------------------------------- speculator versions


def _learner(tenant: Tenant) -> learning.Tenant:
    speculator = speculators.ensure_speculator(tenant.project, tenant.endpoint.model_id)
    return learning.Tenant(tenant.project, tenant.endpoint, speculator)


def test_a_pinned_version_is_served_until_it_is_withdrawn(alice: Tenant, node: FakeNode) -> None:
    learner = _learner(alice)
    live, pinned = learning.make_version(learner, state="active"), learning.make_version(learner)
    rollout = _begin(alice, node, speculator_version_id=pinned.id)
    versions = [item.speculator and item.speculator.speculator_version_id for item in _config(node).deployments]
    assert versions == [live.id, pinned.id]
    speculators.retire(pinned, actor="usr_test", code="x", message="Its traffic was deleted.")
    node.heartbeat()
    assert [item.speculator is None for item in _config(node).deployments] == [False, True]
    _serve(node)
    assert "was withdrawn" in _read(alice, rollout["id"])["state_reason"]["message"]


def test_another_projects_version_cannot_be_pinned(alice: Tenant, bob: Tenant, node: FakeNode) -> None:
    theirs = learning.make_version(_learner(bob))
    answer = _start(alice, QUICK, speculator_version_id=theirs.id)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_version")


def _canary(tenant: Tenant, node: FakeNode) -> tuple[Any, Any, dict[str, Any]]:
    """A live version, one on trial, and the trial's rollout, which is served."""
    learner = _learner(tenant)
    live, trial = learning.make_version(learner, state="active"), learning.make_version(learner)
    node.heartbeat(windows=(traffic.window(tenant, _config(node).deployment_id),))
    reconcile()
    answer = tenant.api.post(f"/api/v1/speculator-versions/{trial.id}/promote", {"rollout": QUICK})
    assert (answer.status_code, answer.json()["state"]) == (200, "canary"), answer.content
    for _ in range(3):
        _serve(node)
    (rollout,) = tenant.api.get("/api/v1/rollouts?state=observing").json()["data"]
    assert rollout["trigger"] == "promotion"
    return live, trial, rollout


def test_a_version_that_serves_well_on_trial_goes_live(alice: Tenant, node: FakeNode) -> None:
    live, trial, rollout = _canary(alice, node)
    home = _config(node).deployment_id
    for _ in range(8):
        _serve(node, *_both(alice, rollout))
    assert _read(alice, rollout["id"])["state"] == "completed"
    for version in (live, trial):
        version.refresh_from_db()
    assert (live.state, trial.state) == ("superseded", "active")
    served = _config(node)
    assert (served.deployment_id, served.deployments) == (home, ()), (
        "the endpoint's own deployment follows the live one"
    )
    assert served.speculator is not None and served.speculator.speculator_version_id == trial.id


def test_a_version_that_serves_worse_on_trial_is_quarantined(alice: Tenant, node: FakeNode) -> None:
    live, trial, rollout = _canary(alice, node)
    _serve(node, *_both(alice, rollout, acceptance=1.2))
    _serve(node)
    for version in (live, trial):
        version.refresh_from_db()
    assert (live.state, trial.state) == ("active", "quarantined")
    assert "acceptance length fell" in trial.state_message
    events = alice.api.get(f"/api/v1/speculators/{trial.speculator_id}/events").json()["data"]
    assert {"canary", "regressed"} <= {event["kind"] for event in events}


def test_a_trial_that_a_person_aborts_says_nothing_against_the_version(alice: Tenant, node: FakeNode) -> None:
    _, trial, rollout = _canary(alice, node)
    alice.api.post(f"/api/v1/rollouts/{rollout['id']}/abort", {"reason": "Not today."})
    _serve(node)
    trial.refresh_from_db()
    assert (trial.state, trial.state_message) == ("eligible", "Not today.")


def test_without_traffic_to_try_it_on_a_version_is_promoted_at_once(alice: Tenant) -> None:
    trial = learning.make_version(_learner(alice))
    answer = alice.api.post(f"/api/v1/speculator-versions/{trial.id}/promote", {"rollout": QUICK})
    assert answer.json()["state"] == "active"
