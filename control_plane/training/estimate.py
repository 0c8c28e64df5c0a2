"""What a run would take, before it is started."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Max, Q, Sum

from control_plane.speculators.models import Speculator, TrafficPolicy
from control_plane.training.config import TrainingConfig
from control_plane.training.models import OPEN, RunState, TrafficSegment, TrainingRun
from control_plane.training.selectors import TrainingUsed, training_used
from control_plane.training.services import over_quota

COMPARED_RUNS = 10


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """`seconds` is what the speculator's last runs took on average, else the limit. Money in micro-dollars."""

    records: int  # that would be read, the newest
    new_records: int  # of all that is stored, since the last run
    seconds: int
    max_seconds: int
    measured_runs: int  # that `seconds` comes from; 0: it is the limit
    price_per_hour_microdollars: int
    cost_microdollars: int  # of `seconds`, rounded up
    max_cost_microdollars: int
    runs_today: int
    max_runs_per_day: int
    seconds_today: int
    max_seconds_per_day: int
    refusal: str | None  # why it can't be started now


def estimate(speculator: Speculator, config: TrainingConfig) -> TrainingEstimate:
    """A handful of queries over the project's own rows; starts nothing."""
    project = speculator.project_id
    runs = TrainingRun.objects.filter(project=project, speculator=speculator)
    before = runs.aggregate(last=Max("last_segment_id"), open=Count("id", filter=Q(state__in=OPEN)))
    is_new = Q(id__gt=before["last"] or 0)
    found = TrafficSegment.objects.filter(project=project).aggregate(
        stored=Sum("records", default=0), new=Sum("records", default=0, filter=is_new)
    )
    past = list(
        runs.filter(state__in=(RunState.SUCCEEDED, RunState.REJECTED), training_milliseconds__gt=0, attempts=1)
        .order_by("-created_at")
        .values_list("training_milliseconds", flat=True)[:COMPARED_RUNS]
    )
    seconds = -(-sum(past) // (1000 * len(past))) if past else config.max_seconds
    used = training_used(project)
    return TrainingEstimate(
        records=min(found["stored"], config.max_records),
        new_records=found["new"],
        seconds=seconds,
        max_seconds=config.wall_seconds,
        measured_runs=len(past),
        price_per_hour_microdollars=config.price_per_hour,
        cost_microdollars=cost(seconds, config.price_per_hour),
        max_cost_microdollars=cost(config.wall_seconds, config.price_per_hour),
        runs_today=used.runs,
        max_runs_per_day=config.quotas.project_runs_per_day,
        seconds_today=used.seconds,
        max_seconds_per_day=config.quotas.project_seconds_per_day,
        refusal=_refusal(project, bool(before["open"]), used, config),
    )


def cost(seconds: int, price_per_hour: int) -> int:
    """Micro-dollars, rounded up to whole ones."""
    return -(-seconds * price_per_hour // 3600)


def _refusal(project_id: str, is_one_open: bool, used: TrainingUsed, config: TrainingConfig) -> str | None:
    if not TrafficPolicy.objects.filter(project=project_id, capture=True).exists():
        return "The project has not consented to training on its traffic."
    if is_one_open:
        return "A training run of this speculator is not finished yet."
    return over_quota(used, config.quotas)
