"""Reading nodes. They are the operators'; tenants see what concerns their endpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from django.db.models import Count, Q, QuerySet

from control_plane.common.errors import NotFound
from control_plane.common.ids import InvalidId
from control_plane.common.isolation import widened
from control_plane.fleet.models import Node, NodeEvent, NodeToken, OperatorEvent
from control_plane.tenants.models import Placement
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


@dataclass(frozen=True, slots=True)
class Load:
    """What a node holds."""

    placed: int = 0
    resident: int = 0


def loads(principal: Principal, nodes: Iterable[Node]) -> dict[str, Load]:
    """By node id, for operators: one query."""
    principal.require_operator()
    ids = [node.id for node in nodes]
    counts = Placement.objects.filter(node__in=ids).values("node_id").order_by("node_id")
    with widened():
        found = {
            row["node_id"]: Load(row["placed"], row["resident"])
            for row in counts.annotate(placed=Count("id"), resident=Count("id", filter=Q(is_resident=True)))
        }
    return {node_id: found.get(node_id, Load()) for node_id in ids}


def placements_on(principal: Principal, node: Node) -> QuerySet[Placement]:
    """Rows of all tenants: read it inside of `widened()`."""
    principal.require_operator()
    return Placement.objects.filter(node=node.pk)


def tokens(principal: Principal) -> QuerySet[NodeToken]:
    principal.require_operator()
    return NodeToken.objects.all()


def token(principal: Principal, token_id: str) -> NodeToken:
    try:
        found = tokens(principal).filter(pk=token_id).first()
    except InvalidId:
        found = None
    if found is None:
        raise NotFound
    return found


def operator_events(principal: Principal) -> QuerySet[OperatorEvent]:
    principal.require_operator()
    return OperatorEvent.objects.all()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the fleet has for one target model. nodes: number by state; the sums are over nodes that take projects."""

    model: str
    nodes: dict[str, int]
    ready_nodes: int
    max_projects: int
    placed_projects: int
    adaptive_bytes: int


@dataclass(frozen=True, slots=True)
class Availability:
    """ready_nodes: nodes that answer requests. free_projects: how many more projects the nodes take."""

    ready_nodes: int = 0
    free_projects: int = 0

    def __add__(self, other: Availability) -> Availability:
        return Availability(self.ready_nodes + other.ready_nodes, self.free_projects + other.free_projects)


def availability() -> dict[str, Availability]:
    """By target model: what the catalogue shows to everybody. Sums over all tenants, and nothing of any of them."""
    nodes = list(Node.objects.exclude(state="lost"))
    with widened():
        rows = Placement.objects.filter(node__in=[node.id for node in nodes]).values("node_id").order_by("node_id")
        placed = {row["node_id"]: row["placed"] for row in rows.annotate(placed=Count("id"))}
    found: dict[str, Availability] = {}
    for node in nodes:
        free = max(node.max_projects - placed.get(node.id, 0), 0) if node.accepts else 0
        found[node.model] = found.get(node.model, Availability()) + Availability(int(node.serves(0)), free)
    return found


def capacity(principal: Principal) -> list[Capacity]:
    """By target model, for operators."""
    rows = list(nodes(principal).order_by("model"))
    held = loads(principal, rows)
    return [
        Capacity(
            model=model,
            nodes=dict(Counter(node.state for node in of_model)),
            ready_nodes=sum(node.serves(0) for node in of_model),
            max_projects=sum(node.max_projects for node in of_model if node.accepts),
            placed_projects=sum(held[node.id].placed for node in of_model if node.accepts),
            adaptive_bytes=sum(node.adaptive_bytes for node in of_model if node.accepts),
        )
        for model, of_model in ((model, list(group)) for model, group in groupby(rows, lambda node: node.model))
    ]


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
