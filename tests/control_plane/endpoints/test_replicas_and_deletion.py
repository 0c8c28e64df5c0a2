from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from control_plane.endpoints.models import Deployment, Endpoint, Rollout, SpeculationWindow
from control_plane.endpoints.services import purge_deleted
from control_plane.fleet.reconciler import reconcile
from control_plane.tenants.models import Placement
from tests.control_plane import traffic
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import MODEL, Tenant

pytestmark = pytest.mark.django_db


def _path(tenant: Tenant) -> str:
    return f"/api/v1/endpoints/{tenant.endpoint.id}"


def _patch(tenant: Tenant, **changes: Any) -> Any:
    return tenant.api.patch(_path(tenant), changes, If_Match="*")


def _settle(*nodes: FakeNode) -> None:
    for _ in range(3):
        for node in nodes:
            node.heartbeat()
        reconcile()


def _state(tenant: Tenant) -> tuple[str, str]:
    found = tenant.api.get(_path(tenant)).json()
    return found["state"], found["state_reason"]["code"]


def _num_placed(tenant: Tenant) -> int:
    """Nodes that are to serve it: one that joins may take a project over, and the one before leaves a little later."""
    return Placement.objects.filter(project=tenant.project, leaving_since=None).count()


# ----------------------------------------------------------------------------------------------------------- replicas


def test_a_project_is_placed_on_as_many_nodes_as_its_most_wanting_endpoint_needs(alice: Tenant) -> None:
    nodes = [FakeNode(f"node-{number}") for number in range(3)]
    _settle(*nodes)
    assert _num_placed(alice) == 1
    body = {"project_id": alice.project.id, "name": "second", "model": MODEL, "min_replicas": 2}
    assert alice.api.post("/api/v1/endpoints", body).status_code == 202
    _settle(*nodes)
    assert _num_placed(alice) == 2
    assert _patch(alice, min_replicas=9, max_replicas=9).status_code == 200
    _settle(*nodes)
    assert _num_placed(alice) == 3, "as many as there are"


def test_below_its_least_replicas_an_endpoint_is_degraded(alice: Tenant) -> None:
    first = FakeNode("node-1")
    _settle(first)
    assert _state(alice) == ("ready", "serving")
    assert _patch(alice, min_replicas=2, max_replicas=2).status_code == 200
    _settle(first)
    assert _state(alice) == ("degraded", "too_few_nodes")
    second = FakeNode("node-2")
    _settle(first, second)
    assert _state(alice) == ("ready", "serving")
    second.heartbeat(state="not_ready")
    reconcile()
    assert _state(alice) == ("degraded", "too_few_nodes")


def test_replicas_change_without_a_new_deployment_and_with_a_new_etag(alice: Tenant) -> None:
    before = alice.api.get(_path(alice)).json()
    changed = _patch(alice, max_replicas=3).json()
    assert (changed["min_replicas"], changed["max_replicas"]) == (1, 3)
    assert changed["etag"] != before["etag"] and changed["deployment_id"] == before["deployment_id"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"min_replicas": 0}, "/min_replicas"),
        ({"max_replicas": 17}, "/max_replicas"),
        ({"min_replicas": 3}, "/max_replicas"),
        ({"min_replicas": 3, "max_replicas": 2}, "/max_replicas"),
    ],
)
def test_replicas_that_make_no_sense_are_refused(alice: Tenant, changes: dict[str, int], pointer: str) -> None:
    answer = _patch(alice, **changes)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


def test_a_new_endpoint_may_ask_for_least_replicas_alone(alice: Tenant) -> None:
    body = {"project_id": alice.project.id, "name": "wide", "model": MODEL, "min_replicas": 3}
    made = alice.api.post("/api/v1/endpoints", body).json()
    assert (made["min_replicas"], made["max_replicas"]) == (3, 3)


# ----------------------------------------------------------------------------------------------------------- deletion


def _delete(tenant: Tenant) -> None:
    assert tenant.api.delete(_path(tenant)).status_code == 202
    reconcile()


def _undelete(tenant: Tenant, **body: Any) -> Any:
    return tenant.api.post(f"{_path(tenant)}/undelete", body)


def _later(days: float) -> Any:
    return timezone.now() + timedelta(days=days)


def test_a_deleted_endpoint_comes_back_as_it_was(alice: Tenant) -> None:
    node = FakeNode()
    _settle(node)
    _patch(alice, max_lookahead=3)
    _delete(alice)
    _settle(node)
    assert alice.api.get(_path(alice)).status_code == 404
    assert node.read_snapshot().endpoints == ()
    (listed,) = alice.api.get("/api/v1/endpoints?deleted=true").json()["data"]
    assert listed["id"] == alice.endpoint.id and listed["undelete_until"] is not None
    assert alice.api.get("/api/v1/endpoints").json()["data"] == []
    back = _undelete(alice)
    assert (back.status_code, back.json()["desired_state"], back.json()["undelete_until"]) == (202, "running", None)
    _settle(node)
    assert _state(alice) == ("ready", "serving")
    assert node.read_snapshot().endpoints[0].max_lookahead == 3


def test_one_that_was_stopped_comes_back_stopped(alice: Tenant) -> None:
    alice.api.post(f"{_path(alice)}/stop")
    _delete(alice)
    assert _undelete(alice).json()["desired_state"] == "stopped"
    reconcile()
    assert _state(alice)[0] == "stopped"


def test_a_deletion_that_is_still_going_on_can_be_taken_back(alice: Tenant) -> None:
    node = FakeNode()
    _settle(node)
    alice.api.delete(_path(alice))
    reconcile()
    assert _state(alice)[0] == "deleting"
    assert _undelete(alice).status_code == 202
    _settle(node)
    assert _state(alice)[0] == "ready"


def test_a_name_that_was_given_away_needs_another(alice: Tenant) -> None:
    _delete(alice)
    body = {"project_id": alice.project.id, "name": "assistant", "model": MODEL}
    assert alice.api.post("/api/v1/endpoints", body).status_code == 202
    refused = _undelete(alice)
    assert (refused.status_code, refused.json()["code"]) == (409, "name_in_use")
    assert refused.json()["errors"][0]["pointer"] == "/name"
    assert _undelete(alice, name="assistant-1").json()["name"] == "assistant-1"


def test_what_is_not_deleted_cannot_be_undeleted(alice: Tenant) -> None:
    assert _undelete(alice).json()["code"] == "not_deleted"


def test_after_the_retention_period_it_is_gone_and_what_it_did_is_forgotten(alice: Tenant) -> None:
    node = FakeNode()
    _settle(node)
    _patch(alice, max_lookahead=3)
    own = alice.api.get(_path(alice)).json()["deployment_id"]
    node.heartbeat(windows=(traffic.window(alice, own),))
    _delete(alice)
    _settle(node)
    assert purge_deleted(_later(settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS - 0.01)) == 0
    assert purge_deleted(_later(settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS + 0.01)) == 1
    assert purge_deleted(_later(settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS + 0.01)) == 0
    assert _undelete(alice).status_code == 404
    assert alice.api.get("/api/v1/endpoints?deleted=true").json()["data"] == []
    rows = {"endpoint": alice.endpoint}
    assert not SpeculationWindow.objects.filter(**rows).exists() and not Rollout.objects.filter(**rows).exists()
    assert Deployment.objects.filter(**rows).count() == 1
    assert Endpoint.objects.filter(project=alice.project).get().purged_at is not None, "usage still names it"


def test_even_before_the_sweep_nothing_older_comes_back(alice: Tenant) -> None:
    _delete(alice)
    past = timezone.now() - timedelta(days=settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS, seconds=1)
    Endpoint.objects.filter(project=alice.project).update(deleted_at=past)
    assert _undelete(alice).status_code == 404
