"""Is the active version worse in service than its evaluation promised? A pure function over live counters.

A version has regressed when both hold:
1. the upper confidence bound of its live acceptance length is clearly below the length that its gate measured;
2. it is not above the static speculator: the live hold-out where there is enough of it, else the evaluated figure.

The first alone would punish a version for harder traffic, the second alone for noise. Only speed is at stake: a drafter
never changes output.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegressionPolicy:
    min_steps: int = 400  # live steps of the version before it is judged
    min_static_steps: int = 200  # live steps of the hold-out before it is the yardstick
    max_drop: float = 0.15  # share of the evaluated acceptance length that may be lost
    z: float = 1.645  # one-sided 95 %
    # Steps of one request resemble each other: each counts as this share of an independent one.
    effective_share: float = 0.25


@dataclass(frozen=True, slots=True)
class LiveCounters:
    """Sums over windows of one arm. per_position_accepted[i]: steps that accepted at least i + 1 tokens."""

    steps: int = 0
    accepted: int = 0
    per_position_accepted: tuple[int, ...] = ()

    @property
    def acceptance_length(self) -> float:
        return 1.0 + self.accepted / self.steps if self.steps else 0.0

    def standard_error(self, effective_share: float) -> float:
        """Of the acceptance length. With a = accepted tokens of a step: E[a^2] = sum_i (2i + 1) P(a > i)."""
        mean = self.accepted / self.steps
        square = sum((2 * i + 1) * count for i, count in enumerate(self.per_position_accepted)) / self.steps
        if sum(self.per_position_accepted) != self.accepted:  # no per-position counts: as spread as geometric
            square = mean * (1 + 2 * mean)
        return math.sqrt(max(square - mean * mean, 0.0) / (self.steps * effective_share))


@dataclass(frozen=True, slots=True)
class Verdict:
    regressed: bool
    reason: str


def total(counters: Iterable[LiveCounters]) -> LiveCounters:
    """The sum of windows."""
    windows = list(counters)
    width = max((len(window.per_position_accepted) for window in windows), default=0)
    return LiveCounters(
        sum(window.steps for window in windows),
        sum(window.accepted for window in windows),
        tuple(
            sum(window.per_position_accepted[i] for window in windows if i < len(window.per_position_accepted))
            for i in range(width)
        ),
    )


def judge(
    live: LiveCounters,
    live_static: LiveCounters,
    *,
    evaluated: float,
    evaluated_static: float,
    policy: RegressionPolicy,
) -> Verdict:
    """Compare a version's live counters with its evaluation; lengths in tokens per step."""
    if live.steps < policy.min_steps:
        return Verdict(False, f"{live.steps} of {policy.min_steps} steps seen.")
    length = live.acceptance_length
    bound = length + policy.z * live.standard_error(policy.effective_share)
    floor = evaluated * (1.0 - policy.max_drop)
    if bound >= floor:
        return Verdict(False, f"Live acceptance length {length:.2f} is in line with the evaluated {evaluated:.2f}.")
    measured = live_static.steps >= policy.min_static_steps
    static = live_static.acceptance_length if measured else evaluated_static
    origin = "live hold-out" if measured else "evaluation"
    if length > static:
        return Verdict(
            False, f"Live acceptance length fell to {length:.2f}, still above static's {static:.2f} ({origin})."
        )
    return Verdict(
        True,
        f"Live acceptance length {length:.2f} over {live.steps} steps is below the evaluated {evaluated:.2f} "
        f"and not above static's {static:.2f} ({origin}).",
    )
