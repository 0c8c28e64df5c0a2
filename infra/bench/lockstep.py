"""Arms take turns: always the busy one that has emitted the fewest tokens steps next.

A seed gives the same output in every mode, so all arms work on the same text in the same moments, and the machine's
noise hits all of them alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.bench.arms import Arm, Job
from infra.bench.controllers import WatchedController
from infra.bench.statistics import Window, interval_record, paired_ratio, ratio_of_sums, windows


@dataclass(frozen=True, slots=True)
class Lap:
    """One group of requests, decoded at the same time by every arm. Lists are in the order of the arms."""

    tenants: tuple[str, ...]
    tokens: int
    seconds: tuple[float, ...]
    steps: tuple[int, ...]
    is_equal: bool  # the same tokens in all arms


@dataclass(slots=True)
class Race:
    """A stream over arms. `laps` so far."""

    arms: Sequence[Arm]
    laps: list[Lap] = field(default_factory=list)

    def run(self, groups: Iterable[Sequence[Job]]) -> Iterator[Lap]:
        for number, group in enumerate(groups):
            before = [(arm.tokens, arm.seconds, arm.tally.steps) for arm in self.arms]
            for arm in self.arms:
                arm.begin(group)
            first = number % len(self.arms)  # who steps first among equals
            order = [*self.arms[first:], *self.arms[:first]]
            started = {arm.name: arm.tokens for arm in order}
            while busy := [arm for arm in order if arm.is_busy]:
                min(busy, key=lambda arm: arm.tokens - started[arm.name]).step()
            lap = Lap(
                tenants=tuple(job.tenant for job in group),
                tokens=self.arms[0].tokens - before[0][0],
                seconds=tuple(arm.seconds - old[1] for arm, old in zip(self.arms, before, strict=True)),
                steps=tuple(arm.tally.steps - old[2] for arm, old in zip(self.arms, before, strict=True)),
                is_equal=all(arm.outputs == self.arms[0].outputs for arm in self.arms),
            )
            self.laps.append(lap)
            yield lap

    def index(self, name: str) -> int:
        return next(index for index, arm in enumerate(self.arms) if arm.name == name)

    def seconds(self, name: str) -> list[float]:
        """Per lap."""
        return [lap.seconds[self.index(name)] for lap in self.laps]

    def total(self, name: str) -> float:
        return sum(self.seconds(name))

    def floor(self) -> str:
        """The better of plain and static over the whole stream: what a careful operator would run."""
        names = [arm.name for arm in self.arms if arm.name in ("plain", "static")]
        return min(names, key=self.total)

    def windows_over(self, floor: str, name: str) -> list[Window]:
        return windows(self.arms[self.index(floor)].timeline, self.arms[self.index(name)].timeline)

    def record(self) -> dict[str, Any]:
        """Everything that a reader needs to compute the figures again."""
        return {
            "arms": [arm.name for arm in self.arms],
            "laps": [
                {"tenants": sorted(set(lap.tenants)), "tokens": lap.tokens, "seconds": lap.seconds, "steps": lap.steps}
                for lap in self.laps
            ],
            "equal_outputs": sum(lap.is_equal for lap in self.laps),
            "tokens_per_second": {arm.name: self.arms[0].tokens / arm.seconds for arm in self.arms},
            "acceptance_length": {arm.name: arm.tally.acceptance_length for arm in self.arms},
            "accepted_by_position": {
                arm.name: [
                    accepted / drafted if drafted else 0.0
                    for accepted, drafted in zip(arm.tally.accepted_at, arm.tally.drafted_at, strict=True)
                ]
                for arm in self.arms
            },
            "calibration_error": {
                arm.name: arm.controller.calibration.error
                for arm in self.arms
                if isinstance(arm.controller, WatchedController) and arm.spec.mode != "off"
            },
            "accepted_by_source": {arm.name: dict(arm.tally.accepted_by) for arm in self.arms},
            "control_microseconds_per_token": {
                arm.name: 1e6 * arm.tally.control_seconds / max(1, arm.tally.tokens) for arm in self.arms
            },
        }


def whole_stream(race: Race, above: str, below: str) -> dict[str, float]:
    """Speed of `above` over that of `below` for all tokens together; the interval resamples laps."""
    return ratio_of_sums(race.seconds(below), race.seconds(above))


def per_lap(race: Race, above: str, below: str) -> dict[str, float]:
    """Median of the laps' ratios of speeds."""
    return interval_record(paired_ratio(race.seconds(below), race.seconds(above)))


def window_record(race: Race, floor: str, name: str) -> list[float]:
    """Per 10-second window of the floor's clock: the speed of `name` over the floor's."""
    return [window.adaptive_over_static for window in race.windows_over(floor, name)]
