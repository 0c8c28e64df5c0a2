"""Which nodes hold a project, and how they learn that something about it has changed.

A node polls the generation of its own snapshot. Whatever changes what nodes should run calls `bump_generation` in the
same transaction. Generations come from one sequence, so that a number means the same on every node: a node that has
applied generation G has every change up to G of all projects that it holds.

Locks, always in this order: projects by id, then nodes by id. The project's lock keeps a change and a move of the
same project apart; the node's lock orders the commits, and a snapshot is built under it: a higher generation has
never less in it. A transaction that changes several projects bumps them in one call.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection
from django.db.models import Q

from control_plane.tenants.models import NodeSnapshot, Placement, Project

SEQUENCE = "tenants_generation"

# (project id, node id)
Pair = tuple[str, str]


def bump_generation(*project_ids: str) -> int:
    """Something changed that these projects' nodes must know. Call it inside of the change's transaction.

    Returns the generation of the change: also where no node holds the project yet.
    """
    _lock_projects(project_ids)
    held_by = Placement.objects.filter(project__in=project_ids).values_list("node_id", flat=True)
    return _advance(set(held_by), project_ids)


def move(*, add: Iterable[Pair] = (), withdraw: Iterable[Pair] = (), touch: Iterable[str] = ()) -> int:
    """Place and withdraw projects; only the nodes concerned get a new generation, which is returned.

    touch: nodes that must know of something else, about projects that they keep.
    """
    add, withdraw = list(add), list(withdraw)
    projects = _lock_projects({project for project, _ in (*add, *withdraw)})
    add = [pair for pair in add if pair[0] in projects]  # one that was deleted meanwhile needs no node
    gone = Q(pk=None)
    for project_id, node_id in withdraw:
        gone |= Q(project=project_id, node=node_id)
    Placement.objects.unscoped().filter(gone).delete()
    generation = _advance({*touch, *(node for _, node in (*add, *withdraw))}, ())
    Placement.objects.bulk_create(
        [
            Placement(organization_id=projects[project], project_id=project, node_id=node, generation=generation)
            for project, node in add
        ],
        ignore_conflicts=True,
    )
    return generation


def generation_of(project_id: str) -> int:
    """The generation of the project's last change. One primary key look-up."""
    return Project.objects.unscoped().filter(pk=project_id).values_list("generation", flat=True).first() or 0


def _lock_projects(project_ids: Iterable[str]) -> dict[str, str]:
    """Organization by project, of those that exist."""
    rows = Project.objects.unscoped().filter(pk__in=set(project_ids)).order_by("id")
    return dict(rows.select_for_update(no_key=True).values_list("id", "organization_id"))


def _advance(node_ids: set[str], project_ids: Iterable[str]) -> int:
    """Give the nodes and the projects the next generation. It is drawn under the nodes' locks: none can go back."""
    nodes = NodeSnapshot.objects.filter(pk__in=node_ids).order_by("pk").select_for_update(no_key=True)
    locked = list(nodes.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s)", [SEQUENCE])
        generation = int(cursor.fetchone()[0])
    NodeSnapshot.objects.filter(pk__in=locked).update(generation=generation)
    Project.objects.unscoped().filter(pk__in=set(project_ids)).update(generation=generation)
    return generation
