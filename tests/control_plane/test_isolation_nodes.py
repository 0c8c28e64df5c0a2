"""Every route that nodes call: closed to tenants and to other nodes, and what a node is told or says of one tenant
reaches nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from control_plane.common.routes import routes
from control_plane.endpoints.models import CatalogueModel
from control_plane.endpoints.services import create_endpoint
from control_plane.tenants.services import create_api_key, create_project
from dataplane import contracts
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.tenancy import footprint
from tests.control_plane.tenant import Api, Tenant

pytestmark = pytest.mark.django_db

PREFIX = "internal/v1/"


@dataclass(frozen=True)
class NodeRoute:
    """A path of one node. act: what the node does there for a tenant; None where it says nothing about tenants."""

    method: str
    act: Callable[[FakeNode, Tenant], Any]


@dataclass(frozen=True)
class OpenRoute:
    """Needs no credential of a node; says nothing about tenants."""


def _heartbeat(node: FakeNode, tenant: Tenant) -> Any:
    window = contracts.SpeculationWindow(
        endpoint_id=tenant.endpoint.id,
        arm="adaptive",
        speculator_version_id=None,
        started_at="2026-03-05T10:00:00Z",
        ended_at="2026-03-05T10:00:05Z",
        requests=1,
        completion_tokens=10,
        decode_seconds=1.0,
        steps=5,
        drafted=10,
        accepted=5,
    )
    return node.heartbeat(windows=(window,))


ROUTES: dict[str, NodeRoute | OpenRoute] = {
    "nodes/register": OpenRoute(),
    "nodes/<str:node_id>/credential": NodeRoute(
        "POST", lambda node, tenant: node.api.post(f"/internal/v1/nodes/{node.id}/credential", {"credential": "c" * 43})
    ),
    "nodes/<str:node_id>/snapshot": NodeRoute("GET", lambda node, tenant: node.snapshot()),
    "nodes/<str:node_id>/usage": NodeRoute(
        "POST", lambda node, tenant: node.send_usage(sequenced([usage_event(tenant, 1)]))
    ),
    "nodes/<str:node_id>/status": NodeRoute("POST", _heartbeat),
}
OF_A_NODE = sorted(route for route, case in ROUTES.items() if isinstance(case, NodeRoute))


def _send(api: Api, route: str, node_id: str) -> Any:
    case = ROUTES[route]
    assert isinstance(case, NodeRoute)
    return api.send(case.method, "/" + PREFIX + route.replace("<str:node_id>", node_id), {})


def test_every_route_of_nodes_has_a_case_and_every_case_a_route() -> None:
    """A new route: add it to ROUTES with what a node does there."""
    assert [route.path.removeprefix(PREFIX) for route in routes(PREFIX)] == sorted(ROUTES)


@pytest.mark.parametrize("route", OF_A_NODE)
def test_no_credential_of_a_tenant_opens_a_path_of_nodes(alice: Tenant, operator: Api, route: str) -> None:
    node = FakeNode()
    with_api_key = Api(alice.api_key_text)
    for api in (Api(), alice.api, with_api_key, operator, Api(authorization=f"Node {node.id}:wrong")):
        assert _send(api, route, node.id).status_code in (401, 403)


@pytest.mark.parametrize("route", OF_A_NODE)
def test_no_node_speaks_for_another(alice: Tenant, route: str) -> None:
    node, other = FakeNode(), FakeNode("node-2")
    before = footprint(alice.organization.id)
    assert _send(other.api, route, node.id).status_code in (401, 403)
    assert footprint(alice.organization.id) == before


@pytest.mark.parametrize("route", OF_A_NODE)
def test_what_a_node_does_for_one_tenant_changes_nothing_of_another(alice: Tenant, bob: Tenant, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, NodeRoute)
    node = FakeNode()
    node.heartbeat()  # the endpoints of both settle
    before = footprint(bob.organization.id)
    assert case.act(node, alice).status_code in (200, 201, 202, 204)
    assert footprint(bob.organization.id).differences(before) == {}


def test_a_snapshot_holds_nothing_of_tenants_whom_the_node_does_not_serve(alice: Tenant, bob: Tenant) -> None:
    model = CatalogueModel.objects.create(id="other-model", name="Other", folder="other", context_length=256)
    elsewhere = create_project(bob.organization, name="elsewhere", actor=bob.user.id)
    endpoint = create_endpoint(elsewhere, name="assistant", model=model, actor=bob.user.id)
    key, _ = create_api_key(elsewhere, name="elsewhere", actor=bob.user.id)
    told = json.dumps(FakeNode().snapshot().json())
    assert alice.project.id in told and alice.api_key.digest in told
    for foreign in (elsewhere.id, elsewhere.cache_salt, endpoint.id, key.id, key.digest):
        assert foreign not in told


@pytest.mark.parametrize("field", ["organization_id", "project_id", "endpoint_id", "key_id"])
def test_usage_that_mixes_two_tenants_is_billed_to_neither(alice: Tenant, bob: Tenant, field: str) -> None:
    node = FakeNode()
    before = footprint(alice.organization.id), footprint(bob.organization.id)
    theirs = getattr(usage_event(bob, 1), field)
    answer = node.send_usage(sequenced([usage_event(alice, 1, **{field: theirs})]))
    assert answer.status_code == 200
    assert (footprint(alice.organization.id), footprint(bob.organization.id)) == before
