"""Is a deployment worse than the one that it is to replace? A pure function over what both did in the same time.

Looked at after every heartbeat, an ordinary 95 % interval would sooner or later condemn every deployment. The bounds
here hold at all moments together: a normal-mixture confidence sequence (Robbins 1970; Howard et al. 2021, eq. 14;
asymptotic by Waudby-Smith et al. 2024), which is a standard error times a factor that grows slowly with the sample.
A deployment that is no worse is condemned by one measure with probability 1 - confidence at most, however long that
takes.

Times and acceptance lengths are compared as logarithms (their distributions are skewed, and a ratio is what matters),
each request being one observation, with Welch's standard error. Error rates: Wilson's interval of each, combined by
Newcombe (1998, method 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dataplane.contracts import Moments

# The sample size at which the bounds are tightest: about what a canary sees in its first steps.
TUNED_FOR = 100
NOTHING = Moments()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the service tolerates; shares. A measure condemns when its bound, not its estimate, is beyond."""

    confidence: float = 0.95
    min_requests: int = 20  # of each deployment, before it is judged
    max_error_increase: float = 0.02
    max_first_token_slowdown: float = 0.25
    max_per_token_slowdown: float = 0.10
    max_acceptance_drop: float = 0.10


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one deployment did. acceptance: of the arm that its policy asks for, without hold-out and wishes."""

    requests: int = 0
    errors: int = 0
    first_token: Moments = NOTHING
    per_token: Moments = NOTHING
    acceptance: Moments = NOTHING


@dataclass(frozen=True, slots=True)
class Measure:
    """before, after: a rate, or a geometric mean (seconds; tokens per step), of the old and the new deployment.

    change: the difference of rates, else the ratio minus 1. bound: how small the change for the worse may be at least;
    worse if it is beyond `limit`.
    """

    name: str
    before: float
    after: float
    change: float
    bound: float
    limit: float
    worse: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    worse: bool
    reason: str
    measures: tuple[Measure, ...] = ()


def judge(source: Evidence, target: Evidence, *, same_policy: bool, thresholds: Thresholds) -> Verdict:
    """Compare. same_policy: both draft in the same mode and equally far, so that their acceptance can be compared;
    otherwise a shorter acceptance length may be what was asked for, and time decides."""
    seen, wanted = min(source.requests, target.requests), thresholds.min_requests
    if seen < wanted:
        counts = f"{target.requests} requests of the new deployment, {source.requests} of the old"
        return Verdict(False, f"Seen: {counts}; {wanted} of each are needed to judge.")
    found = [_errors(source, target, thresholds)]
    for name, limit in (
        ("first_token", thresholds.max_first_token_slowdown),
        ("per_token", thresholds.max_per_token_slowdown),
    ):
        if (measure := _slower(name, source, target, limit, thresholds)) is not None:
            found.append(measure)
    if same_policy and (measure := _shorter(source, target, thresholds)) is not None:
        found.append(measure)
    worst = [measure for measure in found if measure.worse]
    reason = " ".join(_words(measure) for measure in worst) or f"No worse over {target.requests} requests."
    return Verdict(bool(worst), reason, tuple(found))


def factor(num_observations: int, *, confidence: float) -> float:
    """Standard errors that bound the mean of `num_observations` (and of every smaller sample before it)."""
    share = num_observations / TUNED_FOR
    return math.sqrt((1 + 1 / share) * math.log((1 + share) / (1 - confidence) ** 2))


def _slower(name: str, source: Evidence, target: Evidence, limit: float, thresholds: Thresholds) -> Measure | None:
    left, right = getattr(source, name), getattr(target, name)
    found = _log_ratio(left, right, thresholds)
    if found is None:
        return None
    ratio, margin = found
    bound = math.exp(ratio - margin) - 1
    return Measure(name, _typical(left), _typical(right), math.exp(ratio) - 1, bound, limit, bound > limit)


def _shorter(source: Evidence, target: Evidence, thresholds: Thresholds) -> Measure | None:
    found = _log_ratio(source.acceptance, target.acceptance, thresholds)
    if found is None:
        return None
    ratio, margin = found
    bound, limit = math.exp(ratio + margin) - 1, -thresholds.max_acceptance_drop
    left, right = _typical(source.acceptance), _typical(target.acceptance)
    return Measure("acceptance", left, right, math.exp(ratio) - 1, bound, limit, bound < limit)


def _log_ratio(source: Moments, target: Moments, thresholds: Thresholds) -> tuple[float, float] | None:
    """ln(target / source) of the geometric means and its margin; None while there is too little to say."""
    seen = min(source.count, target.count)
    if seen < thresholds.min_requests:
        return None
    ratio = target.total / target.count - source.total / source.count
    error = math.sqrt(_variance(source) / source.count + _variance(target) / target.count)
    return ratio, factor(seen, confidence=thresholds.confidence) * error


def _variance(moments: Moments) -> float:
    return max(moments.squares - moments.total**2 / moments.count, 0.0) / (moments.count - 1)


def _typical(moments: Moments) -> float:
    return math.exp(moments.total / moments.count)


def _errors(source: Evidence, target: Evidence, thresholds: Thresholds) -> Measure:
    z = factor(min(source.requests, target.requests), confidence=thresholds.confidence)
    before, after = source.errors / source.requests, target.errors / target.requests
    _, high = _wilson(source.errors, source.requests, z)
    low, _ = _wilson(target.errors, target.requests, z)
    bound = after - before - math.hypot(after - low, high - before)
    limit = thresholds.max_error_increase
    return Measure("errors", before, after, after - before, bound, limit, bound > limit)


def _wilson(errors: int, requests: int, z: float) -> tuple[float, float]:
    rate = errors / requests
    centre = rate + z * z / (2 * requests)
    spread = z * math.sqrt(rate * (1 - rate) / requests + z * z / (4 * requests * requests))
    whole = 1 + z * z / requests
    return max((centre - spread) / whole, 0.0), min((centre + spread) / whole, 1.0)


_NAMES = {
    "errors": "The error rate rose",
    "first_token": "The time to the first token rose",
    "per_token": "The time per token rose",
    "acceptance": "The acceptance length fell",
}


def _words(measure: Measure) -> str:
    if measure.name == "errors":
        values = f"from {measure.before:.1%} to {measure.after:.1%}, by {measure.bound:.1%} at least"
    elif measure.name == "acceptance":
        values = f"from {measure.before:.2f} to {measure.after:.2f}, by {-measure.bound:.0%} at least"
    else:
        values = f"from {measure.before:.3g} s to {measure.after:.3g} s, by {measure.bound:.0%} at least"
    return f"{_NAMES[measure.name]} {values} ({abs(measure.limit):.0%} is allowed)."
