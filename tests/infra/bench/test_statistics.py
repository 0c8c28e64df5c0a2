"""Ratios are paired, and their intervals say how sure they are."""

from __future__ import annotations

import pytest

from infra.bench.statistics import paired_ratio


def test_noise_that_hits_both_of_a_pair_cancels() -> None:
    speeds = [10.0, 40.0, 5.0, 90.0]
    interval = paired_ratio([2 * speed for speed in speeds], speeds)
    assert (interval.value, interval.low, interval.high, interval.count) == (2, 2, 2, 4)


def test_the_interval_covers_the_median_and_narrows_with_more_pairs() -> None:
    few = paired_ratio([1.0, 2.0, 3.0], [1.0] * 3)
    many = paired_ratio([1.0, 2.0, 3.0] * 40, [1.0] * 120)
    assert few.low < few.value < few.high
    assert many.high - many.low <= few.high - few.low


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        paired_ratio([], [])
