"""Reading nodes. They are the operators'; tenants see what concerns their endpoints."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from control_plane.common.errors import NotFound
from control_plane.common.ids import InvalidId
from control_plane.fleet.models import Node, NodeEvent
from control_plane.tenants.principal import Principal


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node would not load a speculator version of an endpoint; the version before it stays."""

    node_id: str
    node_name: str
    speculator_version_id: str
    reason: str


def nodes(principal: Principal) -> QuerySet[Node]:
    """Raises Forbidden for anybody but operators."""
    principal.require_operator()
    return Node.objects.all()


def node(principal: Principal, node_id: str) -> Node:
    try:
        found = nodes(principal).filter(pk=node_id).first()
    except InvalidId:
        found = None
    if found is None:
        raise NotFound
    return found


def events_of(node: Node) -> QuerySet[NodeEvent]:
    return NodeEvent.objects.filter(subject=node).order_by("-id")


def refusals(*, endpoint_id: str) -> list[Refusal]:
    """What nodes refuse to load for this endpoint at the moment."""
    return [
        Refusal(node.id, node.name, item["speculator_version_id"], item["reason"])
        for node in Node.objects.exclude(state="lost").filter(loaded__contains=[{"endpoint_id": endpoint_id}])
        for item in node.loaded
        if item["endpoint_id"] == endpoint_id and item["state"] == "refused"
    ]
