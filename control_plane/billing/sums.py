"""Reading usage: whole UTC days from their sums, and from the events only the days that an interval cuts.

    start        first                        last      end
      |  events    |  sums of days              |  events |

If the cut-off part of a day holds no event, the day counts as whole: so a report "until now" reads no event at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate

from control_plane.billing.models import KeyUsageDay, OrganizationUsageDay, Price, UsageEvent
from control_plane.billing.rollups import COUNTERS

SUMMED = ("requests", *COUNTERS)
_OF_DAYS: dict[str, Any] = {name: Sum(name, default=0) for name in SUMMED}
_OF_EVENTS: dict[str, Any] = {"requests": Count("id"), **{name: Sum(name, default=0) for name in COUNTERS}}
_FINE = frozenset({"project_id", "endpoint_id", "key_id"})
_ONE_DAY = timedelta(days=1)
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)

Group = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The interval [start, end) of an organization, of which [first, last) are whole days; both midnights (UTC)."""

    organization_id: str
    start: datetime
    end: datetime
    first: datetime
    last: datetime

    @classmethod
    def of(cls, organization_id: str, start: datetime, end: datetime) -> Span:
        first, last = midnight(start), midnight(end)
        if first < start and events(organization_id, start=first, end=start).exists():
            first += _ONE_DAY
        if last < end < _LAST_DAY and not events(organization_id, start=end, end=last + _ONE_DAY).exists():
            last += _ONE_DAY
        return cls(organization_id, start, end, first, max(first, last))

    @property
    def cut(self) -> list[tuple[datetime, datetime]]:
        """What is left of [start, end) beside the whole days."""
        if self.first == self.last:
            return [(self.start, self.end)]
        return [(a, b) for a, b in ((self.start, self.first), (self.last, self.end)) if a < b]


def midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def events(
    organization_id: str, *, start: datetime, end: datetime, project_id: str | None = None
) -> QuerySet[UsageEvent]:
    """Events that finished in [start, end)."""
    rows = UsageEvent.objects.filter(organization_id=organization_id, finished_at__gte=start, finished_at__lt=end)
    return rows if project_id is None else rows.filter(project_id=project_id)


def by_columns(
    span: Span, columns: Sequence[str], *, project_id: str | None = None, limit: int
) -> dict[Group, dict[str, int]]:
    """Sums for each group, in the order of the groups; one group without columns. May stop after `limit` groups."""
    table: Any = KeyUsageDay if project_id or _FINE & set(columns) else OrganizationUsageDay
    days = table.objects.filter(organization=span.organization_id, day__gte=span.first, day__lt=span.last)
    parts = [_grouped(days if project_id is None else days.filter(project_id=project_id), columns, _OF_DAYS, limit)]
    for start, end in span.cut:
        rows = events(span.organization_id, start=start, end=end, project_id=project_id)
        dated = rows.annotate(day=TruncDate("finished_at", tzinfo=UTC))
        parts.append(_grouped(dated, columns, _OF_EVENTS, limit))
    found = _added(columns, (row for part in parts for row in part))
    return dict(sorted(found.items()))


def by_price(span: Span) -> dict[Group, dict[str, int]]:
    """Sums by model and by the id (or None) of the price in effect when the request finished.

    A day in which a model's price changes is read from the model's events.
    """
    changes = Price.objects.filter(effective_from__gt=span.first, effective_from__lt=span.last)
    moments = changes.values_list("model_id", "effective_from")
    split = {(model, midnight(at)) for model, at in moments if at != midnight(at)}
    days = OrganizationUsageDay.objects.filter(
        organization=span.organization_id, day__gte=span.first, day__lt=span.last
    )
    parts: list[Iterable[dict[str, Any]]] = []
    for model, day in sorted(split):
        days = days.exclude(model=model, day=day)
        rows = events(span.organization_id, start=day, end=day + _ONE_DAY).filter(model=model)
        parts.append(_priced(rows))
    for start, end in span.cut:
        parts.append(_priced(events(span.organization_id, start=start, end=end)))
    parts.append(_priced_days(days))
    found = _added(("model", "price"), (row for part in parts for row in part))
    return dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or "~")))


def _priced(rows: QuerySet[UsageEvent]) -> list[dict[str, Any]]:
    in_effect = Price.objects.filter(model=OuterRef("model"), effective_from__lte=OuterRef("finished_at"))
    price = Subquery(in_effect.order_by("-effective_from").values("id")[:1])
    priced: Any = rows.annotate(price=price)
    return list(priced.values("model", "price").annotate(**_OF_EVENTS))


def _priced_days(days: QuerySet[OrganizationUsageDay]) -> Iterable[dict[str, Any]]:
    """Days in which no price changes: the price at the first moment is the price of all."""
    rows: list[Any] = list(days.values("model", "day").annotate(**_OF_DAYS))
    prices: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    known = Price.objects.filter(model__in={row["model"] for row in rows}).order_by("effective_from")
    for model, at, price in known.values_list("model_id", "effective_from", "id"):
        prices[model].append((at, price))
    for row in rows:
        start = datetime.combine(row["day"], time(), UTC)
        place = bisect_right(prices[row["model"]], start, key=lambda entry: entry[0])
        yield row | {"price": prices[row["model"]][place - 1][1] if place else None}


def _grouped(rows: QuerySet[Any], columns: Sequence[str], sums: dict[str, Any], limit: int) -> Iterable[dict[str, Any]]:
    if not columns:
        return [rows.aggregate(**sums)]
    return rows.values(*columns).annotate(**sums).order_by(*columns)[:limit]


def _added(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> dict[Group, dict[str, int]]:
    found: dict[Group, dict[str, int]] = {}
    for row in rows:
        into = found.setdefault(tuple(row[name] for name in columns), dict.fromkeys(SUMMED, 0))
        for name in SUMMED:
            into[name] += int(row[name])
    return found
