"""Paired ratios with their bootstrap intervals, and windows of two clocks."""

from __future__ import annotations

import dataclasses
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Value = TypeVar("Value")

_RESAMPLES = 2000
WINDOW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 90 % bootstrap interval."""

    value: float
    low: float
    high: float
    count: int


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Median of the ratios of pairs that were measured one right after the other. Raises ValueError without pairs."""
    ratios = [above / below for above, below in zip(numerators, denominators, strict=True)]
    return bootstrap(ratios, median)


def bootstrap(values: Sequence[Value], statistic: Callable[[Sequence[Value]], float], seed: int = 0) -> Interval:
    """`statistic` of the values, and its percentiles 5 and 95 over resamples with replacement."""
    if not values:
        raise ValueError("nothing was measured")
    rng = random.Random(seed)
    resampled = sorted(statistic(rng.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    low, high = resampled[_RESAMPLES // 20], resampled[-_RESAMPLES // 20]
    return Interval(statistic(values), low, high, len(values))


def interval_record(interval: Interval) -> dict[str, float]:
    """As JSON."""
    return dataclasses.asdict(interval)


def ratio_of_sums(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """sum(above) / sum(below) with its interval; pairs are resampled together."""
    pairs = list(zip(above, below, strict=True))
    return interval_record(bootstrap(pairs, lambda drawn: sum(one for one, _ in drawn) / sum(two for _, two in drawn)))


@dataclass(frozen=True, slots=True)
class Window:
    """The same tokens in both arms."""

    tokens: float
    static_seconds: float
    adaptive_seconds: float

    @property
    def adaptive_over_static(self) -> float:
        return self.static_seconds / self.adaptive_seconds


def windows(
    static: Sequence[tuple[int, float]], adaptive: Sequence[tuple[int, float]], length: float = WINDOW_SECONDS
) -> list[Window]:
    """Cut the static arm's clock into windows; each is compared with the adaptive arm's time for the same tokens."""
    by_time = [(seconds, float(tokens)) for tokens, seconds in static]
    by_tokens = [(float(tokens), seconds) for tokens, seconds in adaptive]
    edges = [length * index for index in range(int(static[-1][1] / length) + 1)]
    tokens = [_interpolate(by_time, edge) for edge in edges]
    ours = [_interpolate(by_tokens, count) for count in tokens]
    return [
        Window(tokens[index + 1] - tokens[index], length, ours[index + 1] - ours[index])
        for index in range(len(edges) - 1)
    ]


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    index = bisect_right(points, x, key=lambda point: point[0])
    if index == 0 or index == len(points):
        return points[min(index, len(points) - 1)][1]
    (x0, y0), (x1, y1) = points[index - 1], points[index]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
