"""/api/v1/nodes: for operators."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.billing import sequence
from control_plane.billing.selectors import progress_of
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.views import ApiView
from control_plane.fleet import selectors
from control_plane.fleet.models import NODE_TRANSITIONS
from control_plane.fleet.models import Node as NodeRow


class LoadedSerializer(serializers.Serializer[Any]):
    endpoint_id = serializers.CharField()
    speculator_version_id = serializers.CharField()
    state = serializers.ChoiceField(["loaded", "refused"])
    reason = serializers.CharField()


class SequenceSerializer(serializers.Serializer[Any]):
    """How far a boot's usage has arrived; `gaps` are half-open ranges that are missing below the highest number."""

    boot_id = serializers.CharField()
    acknowledged = serializers.IntegerField()
    gaps = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))


class NodeSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(sorted(NODE_TRANSITIONS))
    state_code = serializers.CharField()
    state_message = serializers.CharField()
    boot_id = serializers.CharField()
    engine = serializers.CharField()
    model = serializers.CharField()
    model_sha256 = serializers.CharField()
    address = serializers.CharField()
    applied_generation = serializers.IntegerField()
    last_seen_at = serializers.DateTimeField()
    loaded = LoadedSerializer(many=True)
    running_requests = serializers.IntegerField()
    waiting_requests = serializers.IntegerField()
    usage_spooled = serializers.IntegerField()
    traffic_dropped = serializers.IntegerField()
    registered_at = serializers.DateTimeField()
    usage_sequences = SequenceSerializer(many=True)


class NodeEventSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


def _shown(nodes: list[NodeRow]) -> list[dict[str, Any]]:
    progress = progress_of([node.id for node in nodes])
    for node in nodes:
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
        return Response(page_body(_shown(rows), cursor))


class Node(ApiView):
    @extend_schema(operation_id="read_node", responses=NodeSerializer)
    def get(self, request: Request, node_id: str) -> Response:
        return Response(_shown([selectors.node(self.principal, node_id)])[0])


class NodeEvents(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_node_events", responses=page_schema(NodeEventSerializer))
    def get(self, request: Request, node_id: str) -> Response:
        rows, cursor = page(selectors.events_of(selectors.node(self.principal, node_id)), **self.query)
        return Response(page_body(NodeEventSerializer(rows, many=True).data, cursor))


urlpatterns = [
    path("nodes", Nodes.as_view()),
    path("nodes/<str:node_id>", Node.as_view()),
    path("nodes/<str:node_id>/events", NodeEvents.as_view()),
]
