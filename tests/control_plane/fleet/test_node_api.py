from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from control_plane.common.ids import new_id
from control_plane.endpoints.models import Endpoint, SpeculationWindow
from control_plane.fleet.models import Node
from control_plane.fleet.reconciler import reconcile
from dataplane.contracts import LoadedVersion
from dataplane.contracts import SpeculationWindow as Window
from tests.control_plane.node import BASE, FakeNode, register
from tests.control_plane.tenant import Api, Tenant


def _window(endpoint: str, **changes: Any) -> Window:
    values: dict[str, Any] = {
        "endpoint_id": endpoint,
        "arm": "adaptive",
        "speculator_version_id": None,
        "started_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:00:05Z",
        "requests": 2,
        "completion_tokens": 90,
        "decode_seconds": 1.5,
        "steps": 30,
        "drafted": 120,
        "accepted": 60,
        "per_position_drafted": (30, 30),
        "per_position_accepted": (20, 10),
        "drafted_by_source": {"eagle": 100, "memory": 20},
        "accepted_by_source": {"eagle": 45, "memory": 15},
    }
    return Window(**(values | changes))


def _state(tenant: Tenant) -> str:
    return Endpoint.objects.filter(organization=tenant.organization).get(pk=tenant.endpoint.pk).state


# ------------------------------------------------------------------------------------------------------ authentication


@pytest.mark.parametrize("token", ["", "wrong", "sln_000000000000_" + "0" * 38, "é"])
def test_a_wrong_registration_token_registers_nothing(db: None, token: str) -> None:
    assert register(token=token).status_code in (400, 403)
    assert not Node.objects.exists()


@pytest.mark.parametrize("missing", ["boot_id", "name", "engine", "model"])
def test_a_registration_names_what_is_missing(db: None, missing: str) -> None:
    answer = register(**{missing: ""})
    assert answer.json()["errors"][0]["pointer"] == f"/{missing}"


def test_only_the_node_itself_uses_its_paths(alice: Tenant, operator: Api) -> None:
    node, other = FakeNode("one"), FakeNode("two")
    for path, method in (("snapshot", "GET"), ("usage", "POST"), ("status", "POST")):
        url = f"{BASE}/{node.id}/{path}"
        assert Api().send(method, url).status_code == 401
        assert alice.api.send(method, url).status_code == 401
        assert operator.send(method, url).status_code == 401
        assert Api(authorization=f"Node {node.id}:wrong").send(method, url).status_code == 401
        assert Api(authorization=f"Node nonsense:{node.credential}").send(method, url).status_code == 401
        assert Api(authorization=f"Node {node.id}:{other.credential}").send(method, url).status_code == 401
        assert other.api.send(method, url).status_code == 403


def test_a_node_credential_opens_nothing_of_the_management_api(db: None) -> None:
    assert FakeNode().api.get("/api/v1/nodes").status_code == 401


# ------------------------------------------------------------------------------------------------------------- status


def test_an_endpoint_is_ready_once_a_ready_node_has_applied_it(alice: Tenant) -> None:
    node = FakeNode()
    node.heartbeat(state="not_ready", applied=0)
    assert _state(alice) == "loading"
    node.heartbeat()
    assert _state(alice) == "ready"
    endpoint = alice.api.get(f"/api/v1/endpoints/{alice.endpoint.id}").json()
    assert endpoint["observed_generation"] == endpoint["generation"]
    states = [
        item["to_state"] for item in alice.api.get(f"/api/v1/endpoints/{alice.endpoint.id}/events").json()["data"]
    ]
    assert states == ["ready", "loading", "provisioning", "pending"]


def test_a_silent_node_is_lost_and_its_endpoints_are_degraded_until_it_speaks(alice: Tenant, operator: Api) -> None:
    node = FakeNode()
    node.heartbeat()
    Node.objects.update(last_seen_at=timezone.now() - timedelta(seconds=31))
    reconcile()
    assert _state(alice) == "degraded"
    assert operator.get(f"/api/v1/nodes/{node.id}").json()["state"] == "lost"
    node.heartbeat()
    assert _state(alice) == "ready"


def test_a_change_shows_as_updating_until_it_is_applied(alice: Tenant) -> None:
    node = FakeNode()
    node.heartbeat()
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    alice.api.patch(path, {"max_lookahead": 2}, If_Match=alice.api.get(path).headers["ETag"])
    reconcile()
    assert _state(alice) == "updating"
    node.heartbeat()
    assert _state(alice) == "ready"


def test_stopping_and_deleting_end_when_nodes_have_applied_them(alice: Tenant) -> None:
    node = FakeNode()
    node.heartbeat()
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    alice.api.post(f"{path}/stop")
    reconcile()
    assert _state(alice) == "stopping"
    node.heartbeat()
    assert _state(alice) == "stopped"
    alice.api.post(f"{path}/start")
    reconcile()
    node.heartbeat()
    assert _state(alice) == "ready"
    alice.api.delete(path)
    node.heartbeat()
    assert _state(alice) == "deleted"
    assert alice.api.get(path).status_code == 404


def test_an_earlier_boot_can_not_come_back(db: None) -> None:
    node = FakeNode()
    node.heartbeat()
    node.boot_id = "boot-2"
    assert node.heartbeat().status_code == 204
    node.boot_id = "boot-1"
    answer = node.heartbeat()
    assert (answer.status_code, answer.json()["code"]) == (409, "fenced")


def test_a_refused_artifact_is_seen_by_the_tenant_and_by_operators(alice: Tenant, operator: Api) -> None:
    node, version = FakeNode(), new_id("spv")
    refused = (LoadedVersion(alice.endpoint.id, version, "refused", "digest mismatch"),)
    node.heartbeat(loaded=refused)
    node.heartbeat(loaded=refused)
    events = alice.api.get(f"/api/v1/endpoints/{alice.endpoint.id}/events").json()["data"]
    assert [item["message"] for item in events if item["code"] == "speculator_refused"] == [
        f"{version}: digest mismatch"
    ]
    assert operator.get(f"/api/v1/nodes/{node.id}").json()["loaded"][0]["reason"] == "digest mismatch"


def test_windows_are_stored_once(alice: Tenant) -> None:
    node = FakeNode()
    windows = (_window(alice.endpoint.id), _window(alice.endpoint.id, arm="static"))
    for _ in range(3):
        assert node.heartbeat(windows=windows).status_code == 204
    rows = SpeculationWindow.objects.filter(endpoint=alice.endpoint)
    assert {(row.arm, row.accepted, row.per_position_accepted[0]) for row in rows} == {
        ("adaptive", 60, 20),
        ("static", 60, 20),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"arm": "psychic"},
        {"accepted": 121},
        {"steps": -1},
        {"requests": 10**12},
        {"decode_seconds": -1.0},
        {"started_at": "then"},
        {"speculator_version_id": "v1"},
        {"endpoint_id": "ep_00000000000000000000000000"},
        {"endpoint_id": "?"},
    ],
)
def test_a_window_without_sense_is_dropped_and_the_heartbeat_counts(alice: Tenant, changes: dict[str, Any]) -> None:
    node = FakeNode()
    assert node.heartbeat(windows=(_window(alice.endpoint.id, **changes),)).status_code == 204
    assert not SpeculationWindow.objects.unscoped().exists()
    assert Node.objects.get(pk=node.id).state == "ready"


def test_a_status_of_another_form_is_refused_by_name(db: None) -> None:
    node = FakeNode()
    answer = node.api.post(f"{BASE}/{node.id}/status", {"node_id": node.id})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/boot_id")
    assert node.heartbeat(node_id=new_id("node")).json()["errors"][0]["pointer"] == "/node_id"


def test_health_needs_no_credentials(db: None) -> None:
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("running_requests", -1),
        ("waiting_requests", 2**31),
        ("usage_spooled", 10**30),
        ("traffic_dropped", -1),
        ("applied_generation", 2**63),
        ("boot_id", ""),
        ("boot_id", "x" * 65),
    ],
)
def test_a_status_that_makes_no_sense_is_refused_by_name(alice: Tenant, name: str, value: Any) -> None:
    answer = FakeNode().heartbeat(**{"applied" if name == "applied_generation" else name: value})

    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"
