"""The periodic sweep of the fleet."""

from __future__ import annotations

from celery import shared_task

from control_plane.common.tasks import BaseTask
from control_plane.fleet import reconciler


@shared_task(base=BaseTask, name="fleet.reconcile")
def reconcile() -> None:
    """Mark silent nodes as lost, move endpoints as far as they go. Safe at any time, any number of times."""
    reconciler.reconcile()
