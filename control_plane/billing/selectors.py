"""Usage and statements, both computed from the same events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate

from control_plane.billing import money
from control_plane.billing.models import Price, QuarantinedUsage, SequenceProgress, UsageEvent
from control_plane.tenants.principal import Principal
from control_plane.tenants.selectors import organization, project

# Name in the API -> (column, name of the column in a row of the answer).
GROUPS = {
    "day": ("day", "day"),
    "key": ("key_id", "key_id"),
    "endpoint": ("endpoint_id", "endpoint_id"),
    "model": ("model", "model"),
    "project": ("project_id", "project_id"),
    "status": ("status", "status"),
}
MAX_ROWS = 10_000
_COUNTERS = ("prompt_tokens", "cached_tokens", "completion_tokens", "steps", "drafted", "accepted")
_SUMS: dict[str, Any] = {"requests": Count("id"), **{name: Sum(name, default=0) for name in _COUNTERS}}


@dataclass(frozen=True, slots=True)
class Statement:
    """An organization's month. `total_cents` is the sum of the lines' cents."""

    organization_id: str
    month: date  # its first day
    until: datetime  # events that finished before this moment are in it
    lines: tuple[money.Line, ...]

    @property
    def total_cents(self) -> int:
        return sum(line.amount_cents for line in self.lines)


def month_start(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(start: datetime) -> datetime:
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def events(
    organization_id: str, *, start: datetime, end: datetime, project_id: str | None = None
) -> QuerySet[UsageEvent]:
    """Events that finished in [start, end)."""
    rows = UsageEvent.objects.filter(organization_id=organization_id, finished_at__gte=start, finished_at__lt=end)
    return rows if project_id is None else rows.filter(project_id=project_id)


def usage(
    principal: Principal,
    organization_id: str,
    *,
    start: datetime,
    end: datetime,
    group_by: Sequence[str] = (),
    project_id: str | None = None,
) -> list[dict[str, Any]]:
    """Sums for each group, ordered by the groups; one row of sums without any. At most MAX_ROWS + 1 rows."""
    organization(principal, organization_id, "usage:read")
    if project_id is not None:
        project(principal, project_id)
    rows = events(organization_id, start=start, end=end, project_id=project_id)
    if not group_by:
        return [rows.aggregate(**_SUMS)]
    columns = [GROUPS[name][0] for name in group_by]
    grouped = rows.annotate(day=TruncDate("finished_at", tzinfo=UTC)).values(*columns).annotate(**_SUMS)
    return list(grouped.order_by(*columns)[: MAX_ROWS + 1])


def statement(principal: Principal, organization_id: str, *, month: datetime, now: datetime) -> Statement:
    """Month to date, or the whole of a past month; `month` is its first moment."""
    organization(principal, organization_id, "statement:read")
    until = min(next_month(month), now)
    rows = events(organization_id, start=month, end=until)
    return Statement(organization_id, month.date(), until, tuple(money.lines(priced(rows))))


def priced(rows: QuerySet[UsageEvent]) -> list[money.Usage]:
    """Token counts by model and by the price that was in effect when the request finished."""
    in_effect = Price.objects.filter(model=OuterRef("model"), effective_from__lte=OuterRef("finished_at"))
    grouped = (
        rows.annotate(price=Subquery(in_effect.order_by("-effective_from").values("id")[:1]))
        .values("model", "price")
        .annotate(**_SUMS)
        .order_by("model", "price")
    )
    found: list[dict[str, Any]] = list(grouped)  # type: ignore[arg-type]
    prices = Price.objects.in_bulk([row["price"] for row in found if row["price"] is not None])
    return [
        money.Usage(
            model=row["model"],
            price_id=row["price"],
            unit_prices=_unit_prices(prices.get(row["price"])),
            requests=row["requests"],
            prompt_tokens=int(row["prompt_tokens"]),
            cached_tokens=int(row["cached_tokens"]),
            completion_tokens=int(row["completion_tokens"]),
        )
        for row in found
    ]


def prices(model_id: str | None = None) -> QuerySet[Price]:
    return Price.objects.all() if model_id is None else Price.objects.filter(model_id=model_id)


def quarantined(principal: Principal) -> QuerySet[QuarantinedUsage]:
    """For operators. Raises Forbidden."""
    principal.require_operator()
    return QuarantinedUsage.objects.all()


def progress_of(node_ids: Sequence[str]) -> dict[str, list[SequenceProgress]]:
    """How far the sequences of these nodes have arrived."""
    found: dict[str, list[SequenceProgress]] = {node_id: [] for node_id in node_ids}
    for row in SequenceProgress.objects.filter(node_id__in=node_ids).order_by("id"):
        found[row.node_id].append(row)
    return found


def _unit_prices(price: Price | None) -> tuple[int, int, int]:
    return (price.prompt, price.cached, price.completion) if price is not None else (0, 0, 0)
