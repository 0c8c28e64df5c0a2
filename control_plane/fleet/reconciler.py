"""Endpoints towards their desired state: what nodes report decides. Nobody else writes an endpoint's state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from control_plane.common.states import transition
from control_plane.endpoints.models import Endpoint
from control_plane.fleet.models import Node
from control_plane.fleet.placement import place_all
from control_plane.fleet.scaling import rescale
from control_plane.tenants.models import Placement


@dataclass(frozen=True, slots=True)
class Serving:
    """The nodes that hold an endpoint's project and are heard of, as far as this decision needs them."""

    heard: int  # any state
    ready: int
    applied: int | None  # the generation that as many ready nodes have applied as the endpoint needs
    lagging: int | None  # oldest generation among nodes that are heard of
    needed: int = 1  # ready nodes below which the endpoint is degraded
    newest: int | None = None  # newest generation among ready nodes
    replicas: int = 0  # nodes that serve the project


@dataclass(frozen=True, slots=True)
class Move:
    state: str
    code: str
    message: str


def next_move(state: str, desired: str, generation: int, serving: Serving) -> Move | None:
    """The next legal step of an endpoint, or None while there is nothing to do but wait."""
    if desired == "deleted":
        return _away("deleting", "deleted", state, generation, serving)
    if desired == "stopped":
        return _away("stopping", "stopped", state, generation, serving)
    current = serving.applied is not None and serving.applied >= generation
    served = serving.newest is not None and serving.newest >= generation
    match state:
        case "pending" | "stopped" | "stopping" | "failed" | "deleting" | "deleted":
            return Move("provisioning", "placing", "Waiting for a node that serves this model.")
        case "provisioning" if serving.heard:
            return Move("loading", "applying", "A node has been found; it is applying the configuration.")
        case "loading" if not serving.heard:
            return Move("provisioning", "node_lost", "The node is silent; waiting for one that serves this model.")
        case "loading" | "updating" | "degraded" if current:
            return Move("ready", "serving", "A ready node serves the current configuration.")
        case "ready" | "updating" if not serving.ready:
            return Move("degraded", "no_ready_node", "No ready node has been heard of.")
        case "loading" | "ready" | "updating" if serving.ready < serving.needed and served:
            message = f"{serving.ready} of the {serving.needed} nodes that it needs are ready."
            return Move("degraded", "too_few_nodes", message)
        case "ready" if not current:
            return Move("updating", "applying", "Nodes are applying a change.")
        case "degraded" if serving.ready and not served:
            return Move("updating", "applying", "Nodes are applying a change.")
    return None


def _away(going: str, gone: str, state: str, generation: int, serving: Serving) -> Move | None:
    if state == gone:
        return None
    if state != going:
        return Move(going, "requested", "Nodes are told to serve it no more.")
    if serving.lagging is None or serving.lagging >= generation:
        return Move(gone, "withdrawn", "No node serves it.")
    return None


def serving_of(held: Iterable[tuple[Node, int]], needed: int = 1) -> Serving:
    """held: nodes, each with the generation that brought the project there."""
    held = list(held)
    nodes = [node for node, _ in held]
    ready = sorted((node.applied_generation for node in nodes if node.serves(0)), reverse=True)
    return Serving(
        heard=len(nodes),
        ready=len(ready),
        applied=ready[needed - 1] if len(ready) >= needed else None,
        lagging=min((node.applied_generation for node in nodes), default=None),
        needed=needed,
        newest=max(ready, default=None),
        replicas=sum(node.serves(generation) for node, generation in held),
    )


def reconcile(node_id: str | None = None) -> int:
    """Move every endpoint (of the projects on one node) as far as it goes now. Returns the number of moves.

    1. In a whole sweep, find silent nodes and mark them lost, see how many replicas the load asks for, and place
    projects on nodes. (A heartbeat, which holds its own node's row, doesn't: two of them would wait for each other.)
    2. Sum up the nodes that hold each project.
    3. Take each endpoint's steps.
    """
    if node_id is None:
        mark_lost()
        rescale()
        place_all()
    holders = _holders(node_id)
    rows = Endpoint.objects.unscoped().exclude(state="deleted", desired_state="deleted")
    if node_id is not None:
        rows = rows.filter(project__in={project_id for project_id, _ in holders})
    moves = 0
    for endpoint in rows.order_by("id").iterator(chunk_size=1000):
        nodes = holders.get((endpoint.project_id, endpoint.model_id), [])
        moves += _settle(endpoint, serving_of(nodes, endpoint.min_replicas))
    return moves


def _holders(node_id: str | None) -> dict[tuple[str, str], list[tuple[Node, int]]]:
    """The nodes that hold each project, by project and target model, with the generation that brought it; of all
    projects, or of those on one node."""
    placements = Placement.objects.unscoped()
    if node_id is not None:
        placements = placements.filter(project__in=Placement.objects.filter(node=node_id).values("project"))
    held = list(placements.values_list("project_id", "node_id", "generation"))
    nodes = {node.id: node for node in Node.objects.exclude(state="lost").filter(pk__in={node for _, node, _ in held})}
    found: dict[tuple[str, str], list[tuple[Node, int]]] = {}
    for project_id, holder, generation in held:
        if node := nodes.get(holder):
            found.setdefault((project_id, node.model), []).append((node, generation))
    return found


def _settle(seen: Endpoint, serving: Serving) -> int:
    if next_move(seen.state, seen.desired_state, seen.generation, serving) is None and not _observed(seen, serving):
        return 0
    moves = 0
    with transaction.atomic():
        endpoint = Endpoint.objects.unscoped().select_for_update().get(pk=seen.pk)
        while move := next_move(endpoint.state, endpoint.desired_state, endpoint.generation, serving):
            transition(endpoint, move.state, code=move.code, message=move.message)
            moves += 1
        if observed := _observed(endpoint, serving):
            Endpoint.objects.unscoped().filter(pk=endpoint.pk).update(**observed)
    return moves


def _observed(endpoint: Endpoint, serving: Serving) -> dict[str, int]:
    """What is news: the endpoint's generation once a ready node has applied it, and how many nodes serve it."""
    news = {"ready_replicas": serving.replicas if endpoint.desired_state == "running" else 0}
    if serving.newest is not None and serving.newest >= endpoint.generation:
        news["observed_generation"] = endpoint.generation
    return {name: value for name, value in news.items() if getattr(endpoint, name) != value}


def mark_lost() -> None:
    silent_since = timezone.now() - timedelta(seconds=settings.SLIPSTREAM_NODE_LOST_SECONDS)
    for node in Node.objects.exclude(state="lost").filter(last_seen_at__lt=silent_since):
        with transaction.atomic():
            locked = Node.objects.select_for_update().get(pk=node.pk)
            if locked.state != "lost" and locked.last_seen_at < silent_since:
                transition(
                    locked, "lost", code="heartbeat_lost", message=f"Silent since {locked.last_seen_at:%H:%M:%S} UTC."
                )
