"""/api/v1/nodes: for operators."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.billing import sequence
from control_plane.billing.selectors import progress_of
from control_plane.common.isolation import widened
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.views import ApiView
from control_plane.fleet import operations, registration, selectors
from control_plane.fleet.models import Node as NodeRow
from control_plane.fleet.serializers import NodeEventSerializer, NodeSerializer, PlacementSerializer


def _shown(principal: Any, nodes: list[NodeRow]) -> list[dict[str, Any]]:
    progress = progress_of([node.id for node in nodes])
    loads = selectors.loads(principal, nodes)
    for node in nodes:
        node.placed_projects = loads[node.id].placed  # type: ignore[attr-defined]
        node.resident_projects = loads[node.id].resident  # type: ignore[attr-defined]
        node.usage_sequences = [  # type: ignore[attr-defined]
            {
                "boot_id": row.boot_id,
                "acknowledged": sequence.contiguous(row.received),
                "gaps": sequence.gaps(row.received),
            }
            for row in progress[node.id]
        ]
    return list(NodeSerializer(nodes, many=True).data)


class Nodes(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_nodes", responses=page_schema(NodeSerializer))
    def get(self, request: Request) -> Response:
        rows, cursor = page(selectors.nodes(self.principal), **self.query)
        return Response(page_body(_shown(self.principal, rows), cursor))


class Node(ApiView):
    @extend_schema(operation_id="read_node", responses=NodeSerializer)
    def get(self, request: Request, node_id: str) -> Response:
        return Response(_shown(self.principal, [selectors.node(self.principal, node_id)])[0])


class NodePlacements(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_node_placements", responses=page_schema(PlacementSerializer))
    def get(self, request: Request, node_id: str) -> Response:
        node = selectors.node(self.principal, node_id)
        with widened():
            rows, cursor = page(selectors.placements_on(self.principal, node), **self.query)
        return Response(page_body(PlacementSerializer(rows, many=True).data, cursor))


class _NodeAction(ApiView):
    """Operators say what they want of a node; its `state` follows."""

    desired: ClassVar[str]

    def _act(self, node_id: str) -> Response:
        found = selectors.node(self.principal, node_id)
        if self.desired == "drained":
            self.principal.require_recent_authentication()
        node = operations.set_desired(
            found,
            self.desired,
            actor=self.principal.actor,
            request_id=self.request_id,
        )
        return Response(_shown(self.principal, [node])[0], status=202)


class Cordon(_NodeAction):
    desired = "cordoned"

    @extend_schema(
        operation_id="cordon_node",
        request=None,
        responses={202: NodeSerializer},
        description="The node keeps and serves the projects that it has, and gets no new ones.",
    )
    def post(self, request: Request, node_id: str) -> Response:
        return self._act(node_id)


class Uncordon(_NodeAction):
    desired = "serving"

    @extend_schema(
        operation_id="uncordon_node",
        request=None,
        responses={202: NodeSerializer},
        description="The node takes projects again, also one that was drained or is being drained.",
    )
    def post(self, request: Request, node_id: str) -> Response:
        return self._act(node_id)


class Drain(_NodeAction):
    desired = "drained"

    @extend_schema(
        operation_id="drain_node",
        request=None,
        responses={202: NodeSerializer},
        description=(
            "The node's projects are placed on others, which take over before this one lets go; then it finishes its "
            "requests (each at most as long as the node's request timeout, by default 600 seconds), sends its usage "
            "and traffic, and becomes `drained`. Projects that no other node can take stay: watch `placed_projects`."
        ),
    )
    def post(self, request: Request, node_id: str) -> Response:
        return self._act(node_id)


class RevokeCredential(ApiView):
    @extend_schema(
        operation_id="revoke_node_credential",
        request=None,
        responses=NodeSerializer,
        description="The node is told to stop serving at its next call, and is `lost`: its name is free again.",
    )
    def post(self, request: Request, node_id: str) -> Response:
        found = selectors.node(self.principal, node_id)
        self.principal.require_recent_authentication()
        node = registration.revoke_credential(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(_shown(self.principal, [node])[0])


class NodeEvents(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_node_events", responses=page_schema(NodeEventSerializer))
    def get(self, request: Request, node_id: str) -> Response:
        rows, cursor = page(selectors.events_of(selectors.node(self.principal, node_id)), **self.query)
        return Response(page_body(NodeEventSerializer(rows, many=True).data, cursor))


urlpatterns = [
    path("nodes", Nodes.as_view()),
    path("nodes/<str:node_id>", Node.as_view()),
    path("nodes/<str:node_id>/placements", NodePlacements.as_view()),
    path("nodes/<str:node_id>/cordon", Cordon.as_view()),
    path("nodes/<str:node_id>/uncordon", Uncordon.as_view()),
    path("nodes/<str:node_id>/drain", Drain.as_view()),
    path("nodes/<str:node_id>/revoke-credential", RevokeCredential.as_view()),
    path("nodes/<str:node_id>/events", NodeEvents.as_view()),
]
