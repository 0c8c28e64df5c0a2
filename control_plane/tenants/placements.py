"""Which nodes a project's change concerns: the generations of serving groups.

A node polls its group's generation. Whatever changes what the node should run bumps the generation in the same
transaction; the row's lock orders the commits, so that a higher generation has never less in it.
"""

from __future__ import annotations

from django.db.models import F

from control_plane.tenants.models import Placement, SnapshotGeneration


def place(project_id: str, group: str) -> None:
    """From now on, the group's nodes serve this project."""
    SnapshotGeneration.objects.get_or_create(group=group)
    Placement.objects.get_or_create(project_id=project_id, group_id=group)


def bump_generation(project_id: str) -> None:
    """Something about the project changed that its nodes must know. Call it inside of the change's transaction."""
    groups = SnapshotGeneration.objects.filter(placements__project_id=project_id)
    # Always locked in the same order: two changes of projects that share groups can't block each other for good.
    locked = list(groups.select_for_update(of=("self",)).order_by("group").values_list("group", flat=True))
    SnapshotGeneration.objects.filter(group__in=locked).update(generation=F("generation") + 1)


def generation_of(group: str) -> int:
    """The group's current generation; 0 before anything was placed there. One primary key look-up."""
    return SnapshotGeneration.objects.filter(group=group).values_list("generation", flat=True).first() or 0
