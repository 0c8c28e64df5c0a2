"""What speculation did on an endpoint over time, from the windows that nodes report. Pure functions over rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from control_plane.endpoints.models import SpeculationWindow

# Neighbouring windows are joined until a point stands for this many steps, so that one short answer is no spike.
STEPS_PER_POINT = 40
MAX_POINTS = 400


@dataclass(frozen=True, slots=True)
class Point:
    """Requests of some seconds. tokens_per_second is per request (decode time summed over requests)."""

    at: datetime
    tokens_per_second: float
    acceptance_length: float
    requests: int
    speculator_version_id: str | None


@dataclass(frozen=True, slots=True)
class Totals:
    requests: int = 0
    completion_tokens: int = 0
    decode_seconds: float = 0.0
    steps: int = 0
    accepted: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        return self.completion_tokens / self.decode_seconds if self.decode_seconds else None

    @property
    def acceptance_length(self) -> float | None:
        return 1 + self.accepted / self.steps if self.steps else None


def totals(windows: Iterable[SpeculationWindow]) -> Totals:
    rows = list(windows)
    return Totals(
        requests=sum(row.requests for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        decode_seconds=sum(row.decode_seconds for row in rows),
        steps=sum(row.steps for row in rows),
        accepted=sum(row.accepted for row in rows),
    )


def points(windows: Sequence[SpeculationWindow], *, steps_per_point: int = STEPS_PER_POINT) -> list[Point]:
    """Windows of one arm, oldest first, as points; a point never spans two speculator versions."""
    steps_per_point = max(steps_per_point, sum(row.steps for row in windows) // MAX_POINTS)
    found: list[Point] = []
    group: list[SpeculationWindow] = []

    def close() -> None:
        total = totals(group)
        if total.tokens_per_second is not None and total.acceptance_length is not None:
            last = group[-1]
            found.append(
                Point(
                    last.ended_at,
                    total.tokens_per_second,
                    total.acceptance_length,
                    total.requests,
                    last.speculator_version_id,
                )
            )
        group.clear()

    for row in windows:
        if group and group[-1].speculator_version_id != row.speculator_version_id:
            close()
        group.append(row)
        if sum(item.steps for item in group) >= steps_per_point:
            close()
    if group:
        close()
    return found


def version_changes(windows: Sequence[SpeculationWindow]) -> list[tuple[datetime, str]]:
    """When another speculator version first served, with its id."""
    changes: list[tuple[datetime, str]] = []
    current: str | None = None
    for row in windows:
        version = row.speculator_version_id
        if version is not None and version != current:
            changes.append((row.started_at, version))
            current = version
    return changes


def by_position(windows: Iterable[SpeculationWindow]) -> list[tuple[str, float, str]]:
    """Bars: share of drafted tokens that were accepted, at each draft position."""
    drafted: list[int] = []
    accepted: list[int] = []
    for row in windows:
        for total, counts in ((drafted, row.per_position_drafted), (accepted, row.per_position_accepted)):
            total.extend([0] * (len(counts) - len(total)))
            for position, number in enumerate(counts):
                total[position] += number
    return [
        (f"position {position + 1}", good / tried, f"{100 * good / tried:.0f} % of {tried}")
        for position, (good, tried) in enumerate(zip(accepted, drafted, strict=False))
        if tried
    ]


def by_source(windows: Iterable[SpeculationWindow]) -> list[tuple[str, float, str]]:
    """Bars: accepted draft tokens by who drafted them."""
    drafted: dict[str, int] = {}
    accepted: dict[str, int] = {}
    for row in windows:
        for total, counts in ((drafted, row.drafted_by_source), (accepted, row.accepted_by_source)):
            for source, number in counts.items():
                total[source] = total.get(source, 0) + number
    return [
        (source, good, f"{good} of {drafted.get(source, good)}")
        for source, good in sorted(accepted.items(), key=lambda item: -item[1])
        if drafted.get(source)
    ]
