"""Reading runs and traffic, always through the principal's organizations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, QuerySet, Sum
from django.utils import timezone

from control_plane.tenants.models import Project
from control_plane.tenants.principal import Principal
from control_plane.tenants.selectors import one_or_404
from control_plane.training.models import ErasureReceipt, TrafficSegment, TrainingRun, TrainingRunEvent


@dataclass(frozen=True, slots=True)
class TrafficSummary:
    """What is stored of a project's traffic."""

    segments: int
    records: int
    tokens: int
    size_bytes: int
    first_at: datetime | None
    last_at: datetime | None


def traffic_summary(project: Project) -> TrafficSummary:
    found = TrafficSegment.objects.filter(project=project).aggregate(
        segments=Count("id"),
        records=Sum("records", default=0),
        tokens=Sum("tokens", default=0),
        size_bytes=Sum("size_bytes", default=0),
        first_at=Min("first_at"),
        last_at=Max("last_at"),
    )
    return TrafficSummary(**found)


@dataclass(frozen=True, slots=True)
class TrainingUsed:
    """A project's training of the last 24 hours."""

    runs: int  # started, whatever came of them
    seconds: int  # of training processes, rounded up


def training_used(project_id: str) -> TrainingUsed:
    found = TrainingRun.objects.filter(project=project_id, created_at__gt=timezone.now() - timedelta(days=1)).aggregate(
        runs=Count("id"), milliseconds=Sum("training_milliseconds", default=0)
    )
    return TrainingUsed(found["runs"], -(-found["milliseconds"] // 1000))


def runs(
    principal: Principal, *, project_id: str | None = None, speculator_id: str | None = None, state: str | None = None
) -> QuerySet[TrainingRun]:
    rows = TrainingRun.objects.filter(organization__in=principal.organizations_with("training:read"))
    wanted = {"project_id": project_id, "speculator_id": speculator_id, "state": state}
    rows = rows.defer("loss_series", "end_users")
    return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


def run(principal: Principal, run_id: str, permission: str = "training:read") -> TrainingRun:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission."""
    found = one_or_404(TrainingRun.objects.filter(organization__in=principal.organization_ids), run_id)
    principal.require(permission, found.organization_id)
    return found


def events_of(run: TrainingRun) -> QuerySet[TrainingRunEvent]:
    return TrainingRunEvent.objects.filter(subject=run).order_by("-id")


def erasures(project: Project) -> QuerySet[ErasureReceipt]:
    return ErasureReceipt.objects.filter(project=project)
