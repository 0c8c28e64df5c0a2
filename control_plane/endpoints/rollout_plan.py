"""How a rollout goes: its steps, what each waits for, and which move comes next. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.common.errors import Invalid
from control_plane.endpoints.comparison import Verdict
from control_plane.endpoints.models import STRATEGIES, WHOLE

MAX_STEPS = 20
MAX_OBSERVE_SECONDS = 7 * 24 * 3600
MAX_MIN_REQUESTS = 1_000_000
# Nodes that have not loaded a deployment by then won't.
SURGE_SECONDS = 600
UNDECIDED = Verdict(False, "")


@dataclass(frozen=True, slots=True)
class Plan:
    """steps: the new deployment's share, in basis points: rising, the last one everything. Each is observed for so
    long, and until the new deployment has answered so many requests in it."""

    strategy: str
    steps: tuple[int, ...]
    observe_seconds: int
    min_requests: int


DEFAULTS = {
    "immediate": Plan("immediate", (WHOLE,), 0, 0),
    "rolling": Plan("rolling", (2_500, 5_000, 7_500, WHOLE), 30, 0),
    "canary": Plan("canary", (500, 2_500, 5_000, WHOLE), 300, 50),
}
IMMEDIATE = DEFAULTS["immediate"]


def make_plan(
    strategy: str,
    *,
    steps_percent: Sequence[float] | None = None,
    observe_seconds: int | None = None,
    min_requests: int | None = None,
) -> Plan:
    """The strategy's plan with what is given instead of its defaults. Raises Invalid with the field's name."""
    if strategy not in STRATEGIES:
        raise Invalid(f"This must be one of {', '.join(STRATEGIES)}.", pointer="/rollout/strategy")
    plan = DEFAULTS[strategy]
    if strategy == "immediate" and not (steps_percent is observe_seconds is min_requests is None):
        raise Invalid("An immediate rollout has no steps to observe.", pointer="/rollout/strategy")
    steps = plan.steps if steps_percent is None else tuple(round(percent * WHOLE / 100) for percent in steps_percent)
    if not 1 <= len(steps) <= MAX_STEPS or steps[0] < 1 or steps[-1] != WHOLE or sorted(set(steps)) != list(steps):
        raise Invalid(
            f"1 to {MAX_STEPS} rising shares from 0.01 to 100, of which the last one is 100.",
            pointer="/rollout/steps_percent",
        )
    observe = plan.observe_seconds if observe_seconds is None else observe_seconds
    least = plan.min_requests if min_requests is None else min_requests
    for name, value, most in (
        ("observe_seconds", observe, MAX_OBSERVE_SECONDS),
        ("min_requests", least, MAX_MIN_REQUESTS),
    ):
        if not 0 <= value <= most:
            raise Invalid(f"This must lie between 0 and {most}.", pointer=f"/rollout/{name}")
    return Plan(strategy, steps, observe, least)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rollout stands. step: steps that were begun. seconds: in this state, or observed in this step."""

    state: str
    step: int
    plan: Plan
    seconds: float
    hurried: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What nodes show. applied: all ready ones have what was asked last. requests: the target's in this step."""

    ready: int
    applied: bool
    refusal: str = ""  # why a node would not load the target's speculator version
    requests: int = 0
    verdict: Verdict = UNDECIDED


@dataclass(frozen=True, slots=True)
class Move:
    state: str
    code: str
    message: str
    step: int = 0  # for `shifting`: which one begins


def next_move(at: Progress, sight: Sight) -> Move | None:
    """The next legal step, or None while there is nothing to do but wait. Paused is paused, but still guarded."""
    if at.state in ("surging", "shifting", "observing", "paused"):
        if sight.refusal:
            return Move("aborting", "refused", f"A node refused the new deployment: {sight.refusal}")
        if sight.verdict.worse:
            return Move("aborting", "regressed", sight.verdict.reason)
    if at.state == "pending":
        return Move("surging", "loading", "Nodes load the new deployment.")
    if at.state == "surging":
        if sight.applied:
            return _shift(at)
        if at.seconds > SURGE_SECONDS:
            return Move("failed", "not_loaded", f"No node had loaded the new deployment after {SURGE_SECONDS} seconds.")
    if at.state == "shifting" and sight.applied:
        return Move("observing", "observing", f"{_percent(at.plan.steps[at.step - 1])} of the requests are shifted.")
    if at.state == "observing" and (at.hurried or _has_been_seen(at, sight)):
        if at.step == len(at.plan.steps):
            return Move("completed", "completed", sight.verdict.reason or "All requests are shifted.")
        return _shift(at)
    if at.state == "aborting" and (sight.applied or not sight.ready):
        return Move("aborted", "aborted", "All requests are back at the deployment before.")
    return None


def _has_been_seen(at: Progress, sight: Sight) -> bool:
    return at.seconds >= at.plan.observe_seconds and sight.requests >= at.plan.min_requests


def _shift(at: Progress) -> Move:
    step = len(at.plan.steps) if at.hurried else at.step + 1
    share = _percent(at.plan.steps[step - 1])
    return Move("shifting", "shifting", f"Step {step} of {len(at.plan.steps)}: {share} of the requests.", step)


def _percent(share: int) -> str:
    return f"{share / 100:g} %"
