"""The periodic sweep of the fleet."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from control_plane.common.tasks import BaseTask
from control_plane.endpoints import services as endpoints
from control_plane.endpoints.models import SpeculationWindow
from control_plane.fleet import reconciler, rollouts

WINDOW_DAYS = 30


@shared_task(base=BaseTask, name="fleet.reconcile")
def reconcile() -> None:
    """Mark silent nodes as lost, move endpoints as far as they go. Safe at any time, any number of times."""
    reconciler.reconcile()


@shared_task(base=BaseTask, name="fleet.advance_rollouts")
def advance_rollouts(rollout_ids: list[str] | None = None) -> None:
    """Take every open rollout, or these, as far as it goes. Safe at any time, any number of times."""
    rollouts.advance(rollout_ids)


@shared_task(base=BaseTask, name="fleet.purge_endpoints")
def purge_endpoints() -> None:
    """Endpoints that were deleted longer ago than the retention period can't come back."""
    endpoints.purge_deleted()


@shared_task(base=BaseTask, name="fleet.forget_windows")
def forget_windows() -> None:
    """Speculation windows are telemetry: kept for a month."""
    SpeculationWindow.objects.unscoped().filter(ended_at__lt=timezone.now() - timedelta(days=WINDOW_DAYS)).delete()
