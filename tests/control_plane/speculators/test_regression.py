import math
import random

from hypothesis import given
from hypothesis import strategies as st

from control_plane.speculators.regression import LiveCounters, RegressionPolicy, judge, total

POLICY = RegressionPolicy(min_steps=400, min_static_steps=200, max_drop=0.15)


def counters(length, steps=2000, spread=True, seed=0):
    """Steps with geometric acceptance around an acceptance length."""
    draw, positions, accepted = random.Random(seed), [0] * 8, 0
    survive = (length - 1) / length
    for _ in range(steps):
        position = 0
        while position < 8 and draw.random() < survive:
            positions[position] += 1
            position += 1
        accepted += position
    return LiveCounters(steps, accepted, tuple(positions) if spread else ())


def verdict(live, static, evaluated=3.0, evaluated_static=2.0):
    return judge(live, static, evaluated=evaluated, evaluated_static=evaluated_static, policy=POLICY)


def test_a_version_that_fell_below_its_evaluation_and_static_has_regressed():
    decision = verdict(counters(1.5), counters(2.0, seed=1))
    assert decision.regressed and "live hold-out" in decision.reason


def test_a_version_in_line_with_its_evaluation_stays():
    assert not verdict(counters(3.0), counters(2.0, seed=1)).regressed


def test_harder_traffic_that_also_slows_static_is_no_regression():
    assert not verdict(counters(1.8), counters(1.3, seed=1)).regressed


def test_without_enough_live_steps_nothing_is_decided():
    assert not verdict(counters(1.0, steps=399), counters(2.0)).regressed


def test_a_small_holdout_falls_back_to_the_evaluated_static():
    assert "evaluation" in verdict(counters(1.5), counters(9.0, steps=10)).reason
    assert verdict(counters(1.5), LiveCounters()).regressed


def test_the_standard_error_follows_the_per_position_counts():
    live = counters(2.0)
    values = [
        count - (live.per_position_accepted[i + 1] if i < 7 else 0)
        for i, count in enumerate(live.per_position_accepted)
    ]
    mean = live.accepted / live.steps
    variance = sum(count * (i + 1) ** 2 for i, count in enumerate(values)) / live.steps - mean**2
    assert math.isclose(live.standard_error(1.0), math.sqrt(variance / live.steps))


def test_missing_per_position_counts_widen_the_bound():
    assert counters(2.0, spread=False).standard_error(1.0) > 0


@given(st.integers(0, 5000), st.integers(0, 8), st.integers(0, 5000), st.integers(0, 8))
def test_a_version_at_or_above_static_is_never_rolled_back(steps, accepted, static_steps, static_accepted):
    live, static = LiveCounters(steps, steps * accepted), LiveCounters(static_steps, static_steps * static_accepted)
    yardstick = static.acceptance_length if static_steps >= POLICY.min_static_steps else 2.0
    if verdict(live, static).regressed:
        assert live.acceptance_length <= yardstick


def test_windows_add_up():
    summed = total([LiveCounters(10, 5, (4, 1)), LiveCounters(20, 3, (3,)), LiveCounters()])
    assert summed == LiveCounters(30, 8, (7, 1))
