"""The gate: does a candidate go live? A pure function of the child's report; its reason is stored and shown.

The measure is the reduction of target forwards per emitted token. Greedy replay emits the same tokens in each arm, so
for one record the ratio of two arms' acceptance lengths is the ratio of their forwards. Over records, forwards add up:
an arm's figure is the harmonic mean of its records' acceptance lengths, and

    gain(candidate over baseline) = sum(1 / baseline_i) / sum(1 / candidate_i) - 1.

Every baseline (static, and the incumbent if there is one) must be beaten: the one-sided lower confidence bound of the
gain, by the paired percentile bootstrap over records (Efron & Tibshirani 1993, ch. 13), must exceed `min_gain`.
Pairing removes the large spread between records that both arms share.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dataplane.contracts import ArmReplay, TrainingReport

Outcome = Literal["accepted", "rejected", "skipped"]
BASELINES = ("static", "incumbent")


@dataclass(frozen=True, slots=True)
class GatePolicy:
    min_gain: float = 0.02
    confidence: float = 0.95  # of the one-sided lower bound
    min_heldout_records: int = 4
    num_resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GateDecision:
    """`code` is stable for programs, `reason` is one sentence for people. The figures are None where not computed."""

    outcome: Outcome
    code: str
    reason: str
    baseline: str | None = None  # the strongest one: where the gain is smallest
    gain: float | None = None
    gain_lower_bound: float | None = None
    gain_upper_bound: float | None = None
    thresholds: GatePolicy | None = None  # what it was judged by

    @property
    def accept(self) -> bool:
        return self.outcome == "accepted"


def decide(report: TrainingReport, policy: GatePolicy) -> GateDecision:
    """Accept iff the candidate is lossless and surely better than everything that could serve instead."""
    return replace(_decide(report, policy), thresholds=policy)


def _decide(report: TrainingReport, policy: GatePolicy) -> GateDecision:
    if report.outcome == "skipped":
        return GateDecision("skipped", "child_skipped", f"Skipped: {report.reason or 'no gain expected'}.")
    candidate, baselines = report.arms.get("candidate"), _baselines(report)
    if candidate is None or "static" not in baselines:
        return _rejected("incomplete_report", "the report lacks the candidate's or the static speculator's replay")
    if not report.greedy_identical:
        return _rejected("output_changed", "greedy output differed between the arms")
    if not report.delta_sha256:
        return _rejected("no_artifact", "the run trained nothing that could be published")

    count = len(candidate.per_record_acceptance_length)
    if count < policy.min_heldout_records:
        return _rejected(
            "too_few_heldout_records",
            f"{count} held-out records are too few to measure a gain ({policy.min_heldout_records} are needed)",
        )
    for name, arm in {"candidate": candidate, **baselines}.items():
        lengths = arm.per_record_acceptance_length
        if len(lengths) != count or not all(math.isfinite(length) and length > 0 for length in lengths):
            return _rejected("malformed_report", f"the {name} replay does not pair with the candidate's")

    worst: GateDecision | None = None
    for name, arm in baselines.items():
        gain, lower, upper = paired_gain(
            candidate.per_record_acceptance_length, arm.per_record_acceptance_length, policy=policy
        )
        decision = replace(_compare(name, candidate, arm, gain, lower, policy), gain_upper_bound=upper)
        if worst is None or lower < (worst.gain_lower_bound or 0.0):
            worst = decision
    assert worst is not None
    return worst


def paired_gain(
    candidate: Sequence[float], baseline: Sequence[float], *, policy: GatePolicy
) -> tuple[float, float, float]:
    """(gain, its lower and its upper confidence bound, each one-sided) of `candidate` over `baseline`.

    Both hold acceptance lengths > 0 by record.
    """
    pairs = [(1.0 / ours, 1.0 / theirs) for ours, theirs in zip(candidate, baseline, strict=True)]
    draw = random.Random(policy.seed)
    resampled = sorted(_gain(draw.choices(pairs, k=len(pairs))) for _ in range(policy.num_resamples))
    tail = int((1.0 - policy.confidence) * len(resampled))
    return _gain(pairs), resampled[tail], resampled[-1 - tail]


def length_interval(lengths: Sequence[float], *, policy: GatePolicy) -> tuple[float, float] | None:
    """Bounds, each one-sided with the policy's confidence, of an arm's acceptance length; None without usable records.

    The arm's figure is the harmonic mean over records (see above); the bounds are its percentile bootstrap.
    """
    if len(lengths) < 2 or not all(math.isfinite(length) and length > 0 for length in lengths):
        return None
    forwards = [1.0 / length for length in lengths]
    draw = random.Random(policy.seed)
    resampled = sorted(
        len(forwards) / math.fsum(draw.choices(forwards, k=len(forwards))) for _ in range(policy.num_resamples)
    )
    tail = int((1.0 - policy.confidence) * len(resampled))
    return resampled[tail], resampled[-1 - tail]


def _gain(pairs: Sequence[tuple[float, float]]) -> float:
    return math.fsum(theirs for _, theirs in pairs) / math.fsum(ours for ours, _ in pairs) - 1.0


def _baselines(report: TrainingReport) -> dict[str, ArmReplay]:
    return {name: report.arms[name] for name in BASELINES if name in report.arms}


def _compare(
    name: str, candidate: ArmReplay, baseline: ArmReplay, gain: float, lower: float, policy: GatePolicy
) -> GateDecision:
    label = "the static speculator" if name == "static" else "the active version"
    figures = (
        f"{candidate.acceptance_length:.2f} tokens per step against {baseline.acceptance_length:.2f} of {label}, "
        f"gain {gain:+.1%} (at least {lower:+.1%} with {policy.confidence:.0%} confidence, "
        f"{len(candidate.per_record_acceptance_length)} held-out records)"
    )
    if lower > policy.min_gain:
        return GateDecision("accepted", "gain_measured", f"Accepted: {figures}.", name, gain, lower)
    return GateDecision("rejected", "no_gain_measured", f"Rejected: no gain measured: {figures}.", name, gain, lower)


def _rejected(code: str, problem: str) -> GateDecision:
    return GateDecision("rejected", code, f"Rejected: {problem}.")
