"""Windows of the anti-workload compare the same tokens in both arms."""

from __future__ import annotations

import pytest

from infra.bench.statistics import windows


def timeline(seconds_per_token: list[float]) -> list[tuple[int, float]]:
    points, now = [(0, 0.0)], 0.0
    for count, seconds in enumerate(seconds_per_token, start=1):
        now += seconds
        points.append((count, now))
    return points


def test_equal_arms_have_windows_of_one() -> None:
    line = timeline([0.5] * 61)
    assert [window.adaptive_over_static for window in windows(line, line)] == pytest.approx([1, 1, 1])


def test_a_slow_stretch_shows_in_its_own_window_only() -> None:
    static = timeline([1.0] * 30)
    adaptive = timeline([1.0] * 10 + [2.0] * 10 + [0.5] * 10)
    assert [window.adaptive_over_static for window in windows(static, adaptive)] == pytest.approx([1, 0.5, 2])


def test_steps_of_several_tokens_are_cut_in_proportion() -> None:
    static = timeline([1.0] * 20)
    adaptive = [(0, 0.0), (15, 15.0), (20, 20.0)]
    assert [window.adaptive_over_static for window in windows(static, adaptive)] == pytest.approx([1, 1])


def test_the_last_incomplete_window_is_left_out() -> None:
    assert len(windows(timeline([1.0] * 19), timeline([1.0] * 19))) == 1
