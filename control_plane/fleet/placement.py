"""Projects onto nodes: takes what `affinity` says into the database, one target model at a time.

project appears     -> placed                       (its nodes learn of it with their next poll)
node joins          -> the projects that rank it first are placed there too; the surplus leaves afterwards
node is drained     -> its projects are placed elsewhere; it keeps serving them until their new nodes do
node is lost        -> its placements end at once, its projects are placed elsewhere
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Q
from django.utils import timezone

from control_plane.endpoints.models import Endpoint
from control_plane.fleet.affinity import Host, is_settled, plan
from control_plane.fleet.models import Node
from control_plane.tenants.models import Placement
from control_plane.tenants.placements import Pair, move

# Projects that one round moves: it locks them all, and changes of theirs wait for it.
MAX_MOVED = 200
# How long most nodes of a model may be silent together before their projects are placed elsewhere.
MASS_LOSS = timedelta(minutes=5)


@dataclass
class Changes:
    """What one round decided. `is_whole`: every project was looked at."""

    add: list[Pair] = field(default_factory=list)
    leave: list[Placement] = field(default_factory=list)  # that routes must not name any more
    stay: list[Placement] = field(default_factory=list)  # that were leaving and are wanted again
    withdraw: list[Pair] = field(default_factory=list)
    is_whole: bool = True

    def __len__(self) -> int:
        return len(self.add) + len(self.leave) + len(self.stay) + len(self.withdraw)


def place_all() -> int:
    """Rounds for every model that has nodes, until all its projects were looked at. Returns the number of changes."""
    num_changes = 0
    for model in sorted(set(Node.objects.values_list("model", flat=True))):
        is_whole = False
        while not is_whole:
            changes = place(model)
            num_changes += len(changes)
            is_whole = changes.is_whole
    return num_changes


def lock(model: str) -> None:
    """One placement round for each model at a time, until the transaction ends. Taken before any row's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('placement'), hashtext(%s))", [model])


@transaction.atomic
def place(model: str) -> Changes:
    """Bring the model's projects to its nodes. Safe at any time.

    1. Lock the model's placement. 2. Sum up nodes, wanted projects, placements. 3. Plan for the projects that are not
    settled; for all of them when a node has joined. 4. Write.
    """
    lock(model)
    nodes = {node.id: node for node in Node.objects.filter(model=model)}
    rows = list(Placement.objects.filter(node__in=nodes))
    changes = decide(nodes, rows, wanted_replicas(model).get(model, {}))
    for kept, since in ((changes.leave, timezone.now()), (changes.stay, None)):
        Placement.objects.unscoped().filter(pk__in=[row.pk for row in kept]).update(leaving_since=since)
    if changes:
        touched = {row.node_id for row in (*changes.leave, *changes.stay)}
        move(add=changes.add, withdraw=changes.withdraw, touch=touched)
    if changes.is_whole:
        for node in nodes.values():
            if node.accepts != node.is_offered:
                Node.objects.filter(pk=node.id).update(is_offered=node.accepts)
    return changes


def clear(node_id: str) -> None:
    """The node has nothing of what it had: another model, or a fresh start."""
    pairs = Placement.objects.filter(node=node_id).values_list("project_id", "node_id")
    move(withdraw=list(pairs))


def decide(nodes: dict[str, Node], rows: list[Placement], wanted: dict[str, int]) -> Changes:
    """The changes of one round; reads nothing but its arguments and the clock."""
    held: dict[str, dict[str, Placement]] = defaultdict(dict)
    num_held: dict[str, int] = defaultdict(int)
    for row in rows:
        held[row.project_id][row.node_id] = row
        num_held[row.node_id] += 1
    silent = _believed_alive(nodes, num_held)
    hosts = {
        node.id: Host(node.id, accepts=node.accepts, room=node.max_projects - num_held[node.id])
        for node in nodes.values()
        if node.keeps or node.id in silent
    }
    has_joined = any(node.accepts and not node.is_offered for node in nodes.values())
    routed_until = timezone.now() - timedelta(seconds=settings.SLIPSTREAM_ROUTE_SECONDS)
    changes, num_moved = Changes(), 0
    for project_id in sorted({*wanted, *held}):
        if num_moved == MAX_MOVED:
            changes.is_whole = False
            break
        before, here, replicas = len(changes), held[project_id], wanted.get(project_id, 0)
        is_leaving = any(row.leaving_since for row in here.values())
        if is_settled(wanted=replicas, held=here, hosts=hosts) and not (has_joined or is_leaving):
            num_moved += len(changes) > before
            continue
        serving = {node_id: nodes[node_id].serves(row.generation) for node_id, row in here.items()}
        planned = plan(project_id, wanted=replicas, held=serving, hosts=hosts)
        for node_id in planned.add:
            hosts[node_id].room -= 1
            changes.add.append((project_id, node_id))
        for node_id, row in here.items():
            if node_id not in planned.leave:
                changes.stay += [row] if row.leaving_since else []
            elif not replicas or nodes[node_id].state == "lost":  # no route names it
                changes.withdraw.append((project_id, node_id))
            elif row.leaving_since is None:
                changes.leave.append(row)
            elif row.leaving_since <= routed_until:
                changes.withdraw.append((project_id, node_id))
        num_moved += len(changes) > before
    return changes


def _believed_alive(nodes: dict[str, Node], num_held: Mapping[str, int]) -> set[str]:
    """Lost nodes that keep their projects for now: when most nodes fall silent at once, it is not the nodes.

    (The control plane was down, or the network is.) They go on serving what they have, so nothing is moved until
    MASS_LOSS have passed.
    """
    lost = {node.id: node.state_changed_at for node in nodes.values() if node.state == "lost" and num_held.get(node.id)}
    num_heard = sum(node.keeps for node in nodes.values())
    if len(lost) < 3 or len(lost) <= num_heard:
        return set()
    return {node_id for node_id, since in lost.items() if since > timezone.now() - MASS_LOSS}


def wanted_replicas(model: str | None = None) -> dict[str, dict[str, int]]:
    """On how many nodes each project wants to be, by target model: as many as its most wanting endpoint."""
    alive = Q(desired_state="running") | ~Q(state__in=["stopped", "deleted"])
    rows = Endpoint.objects.unscoped().filter(alive)
    if model is not None:
        rows = rows.filter(model_id=model)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for model_id, project_id, most in (
        rows.order_by().values_list("model_id", "project_id").annotate(most=Max("desired_replicas"))
    ):
        found[model_id][project_id] = most
    return found
