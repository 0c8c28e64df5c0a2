"""Which speculators learn next: enough new traffic, a drift that the nodes have seen, or the clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, Max, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.endpoints.models import Endpoint, SpeculationWindow
from control_plane.speculators.models import Speculator
from control_plane.speculators.services import SYSTEM, ensure_speculator
from control_plane.training.config import TrainingConfig
from control_plane.training.models import OPEN, RunState, TrafficSegment, TrainingRun
from control_plane.training.services import start_run

MAX_BACKOFF_DOUBLINGS = 3
DRIFT_MEMORY = timedelta(minutes=15)  # how long a node's "relearning" counts


def schedule_runs(config: TrainingConfig) -> list[TrainingRun]:
    """Queue a run for each speculator with enough new traffic; whoever waited longest comes first.

    A speculator whose last runs brought nothing needs more traffic each time, up to 2^MAX_BACKOFF_DOUBLINGS as much.
    One that drifted (a node's controller says "relearning") needs a third, and no patience. One with `every_hours`
    is also trained by the clock, if there is any new traffic.
    """
    _ensure_speculators()
    runs = TrainingRun.objects.unscoped().filter(speculator=OuterRef("pk"))
    segments = TrafficSegment.objects.unscoped().filter(project=OuterRef("project"), id__gt=OuterRef("seen"))
    drifted = SpeculationWindow.objects.unscoped().filter(
        endpoint__project=OuterRef("project"),
        endpoint__model=OuterRef("model"),
        relearning=True,
        ended_at__gt=timezone.now() - DRIFT_MEMORY,
    )
    due = (
        Speculator.objects.unscoped()
        .filter(~Exists(runs.filter(state__in=OPEN)), frozen=False, project__traffic_policy__capture=True)
        .annotate(
            seen=Coalesce(
                Subquery(runs.order_by().values("speculator").annotate(last=Max("last_segment_id")).values("last")), 0
            ),
            new_records=Coalesce(
                Subquery(segments.order_by().values("project").annotate(sum=Sum("records")).values("sum")), 0
            ),
            last_run_at=Subquery(runs.order_by("-created_at").values("created_at")[:1]),
            drifted=Exists(drifted),
        )
        .filter(Q(new_records__gte=config.drift_records) | Q(new_records__gt=0, every_hours__isnull=False))
        .order_by(F("last_run_at").asc(nulls_first=True))
    )
    started = []
    quotas = config.quotas
    speculator: Any
    for speculator in due:
        trigger = _trigger(speculator, config)
        if trigger is None:
            continue
        try:
            started.append(start_run(speculator, trigger=trigger, actor=SYSTEM, quotas=quotas))
        except Conflict:
            continue  # another scheduler was faster, the consent was withdrawn just now, or the day's share is used up
    return started


def _trigger(speculator: Any, config: TrainingConfig) -> str | None:
    if speculator.new_records >= config.min_records << min(_fruitless(speculator), MAX_BACKOFF_DOUBLINGS):
        return "traffic"
    if speculator.drifted and speculator.new_records >= config.drift_records:
        return "drift"
    return "schedule" if _is_due_by_clock(speculator) else None


def _is_due_by_clock(speculator: Any) -> bool:
    if speculator.every_hours is None:
        return False
    last: datetime = speculator.last_run_at or speculator.created_at
    return timezone.now() - last >= timedelta(hours=speculator.every_hours)


def _fruitless(speculator: Speculator) -> int:
    """Runs since the last one that brought something."""
    recent = TrainingRun.objects.filter(project=speculator.project_id, speculator=speculator).order_by("-created_at")
    count = 0
    for state in recent.values_list("state", flat=True)[:MAX_BACKOFF_DOUBLINGS]:
        if state == RunState.SUCCEEDED:
            break
        count += state in (RunState.REJECTED, RunState.SKIPPED, RunState.FAILED)
    return count


def _ensure_speculators() -> None:
    """A speculator for each target model that a consenting project serves."""
    exists = Speculator.objects.unscoped().filter(project=OuterRef("project"), model=OuterRef("model"))
    missing = (
        Endpoint.objects.unscoped()
        .filter(~Exists(exists), project__traffic_policy__capture=True)
        .exclude(desired_state="deleted")
        .select_related("project")
        .order_by("project", "model")
        .distinct("project", "model")
    )
    for endpoint in missing:
        ensure_speculator(endpoint.project, endpoint.model_id)
