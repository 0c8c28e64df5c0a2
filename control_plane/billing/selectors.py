"""Usage and statements, both computed from the same sums of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import QuerySet

from control_plane.billing import money, sums
from control_plane.billing.models import Price, QuarantinedUsage, SequenceProgress
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
    columns = [GROUPS[name][0] for name in group_by]
    span = sums.Span.of(organization_id, start, end)
    found = sums.by_columns(span, columns, project_id=project_id, limit=MAX_ROWS + 1)
    rows = [dict(zip(columns, group, strict=True)) | counts for group, counts in found.items()]
    return rows[: MAX_ROWS + 1]


def statement(principal: Principal, organization_id: str, *, month: datetime, now: datetime) -> Statement:
    """Month to date, or the whole of a past month; `month` is its first moment."""
    organization(principal, organization_id, "statement:read")
    until = min(next_month(month), now)
    return Statement(organization_id, month.date(), until, tuple(money.lines(priced(organization_id, month, until))))


def priced(organization_id: str, start: datetime, end: datetime) -> list[money.Usage]:
    """Token counts by model and by the price that was in effect when the request finished."""
    found = sums.by_price(sums.Span.of(organization_id, start, end))
    prices = Price.objects.in_bulk({price for _, price in found if price is not None})
    return [
        money.Usage(
            model=model,
            price_id=price,
            unit_prices=_unit_prices(prices.get(price)),
            requests=counts["requests"],
            prompt_tokens=counts["prompt_tokens"],
            cached_tokens=counts["cached_tokens"],
            completion_tokens=counts["completion_tokens"],
        )
        for (model, price), counts in found.items()
    ]


def prices(model_id: str | None = None) -> QuerySet[Price]:
    return Price.objects.all() if model_id is None else Price.objects.filter(model_id=model_id)


def current_prices(model_ids: Iterable[str], *, now: datetime) -> dict[str, Price]:
    """The price in force by model; a model without one is absent. One query."""
    rows = Price.objects.filter(model__in=list(model_ids), effective_from__lte=now)
    return {price.model_id: price for price in rows.order_by("model_id", "effective_from")}


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
