"""The latency table: what a sweep measures, what serving corrects."""

from __future__ import annotations

import random

import pytest

from dataplane.speculation.latency import LatencyTable


def cost(batch: int, rows: int) -> float:
    return 0.020 + 0.001 * batch + 0.002 * ((batch * rows - 1) // 8)


def swept(max_batch: int = 8) -> LatencyTable:
    table = LatencyTable(max_batch=max_batch)
    table.sweep(cost, lambda batch, lookahead: 0.0002 + 0.001 * lookahead, rows_per_sequence=range(1, 17))
    return table


def observe(table: LatencyTable, score: float, *, rows: int = 4, draft: float = 0.0, draft_steps: int = 0) -> None:
    table.observe(batch=1, rows=rows, drafting=1, draft_steps=draft_steps, score=score, draft=draft, overhead=0.0003)


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (1, 8), (1, 9), (1, 16), (4, 12), (8, 8)])
def test_swept_points_are_what_was_measured(batch: int, rows: int) -> None:
    assert swept().score_seconds(batch, batch * rows) == pytest.approx(cost(batch, rows))


def test_points_between_are_interpolated_and_points_beyond_go_on() -> None:
    table = swept(16)
    assert cost(2, 4) <= table.score_seconds(3, 12) <= cost(4, 4)
    assert table.score_seconds(16, 16) >= table.score_seconds(8, 8)
    curve = table.score_curve(1, 1, 30)
    assert len(curve) == 31
    assert curve == sorted(curve)
    assert len(table.score_curve(16, 255, 20)) == 21


def test_noise_in_a_sweep_never_makes_more_rows_cheaper() -> None:
    draw, table = random.Random(0), LatencyTable()
    table.sweep(lambda batch, rows: 0.02 * draw.uniform(1, 1.5))
    for batch in range(1, 17):
        curve = table.score_curve(batch, batch, 15)
        assert curve == sorted(curve)


def test_a_slow_machine_is_not_swept_for_ever() -> None:
    calls: list[tuple[int, int]] = []

    def slow(batch: int, rows: int) -> float:
        calls.append((batch, rows))
        return 3.0 * batch

    table = LatencyTable()
    table.sweep(slow, rows_per_sequence=(1, 2, 4, 8), max_seconds=10.0)
    assert calls == [(1, 1), (1, 2), (1, 4), (1, 8)]
    assert table.score_seconds(4, 4) == pytest.approx(3.0)


def test_a_draft_step_costs_what_a_draft_of_one_token_costs() -> None:
    assert swept().draft_seconds(1) == pytest.approx(0.0012)


def test_a_busy_machine_changes_the_scale_and_not_the_shape() -> None:
    table = swept()
    before = table.score_curve(1, 1, 15)
    for index in range(200):
        rows = 1 + index % 16
        observe(table, 3 * cost(1, rows), rows=rows)
    assert table.scale == pytest.approx(3, rel=0.1)
    for old, new in zip(before, table.score_curve(1, 1, 15), strict=True):
        assert new == pytest.approx(old, rel=0.15)


def test_a_cell_that_was_measured_wrong_is_corrected_while_serving() -> None:
    table = swept()
    for index in range(600):
        rows = 1 + index % 4
        observe(table, cost(1, rows) * (1.5 if rows == 4 else 1), rows=rows)
    assert table.score_seconds(1, 4) / table.score_seconds(1, 3) == pytest.approx(1.5, rel=0.1)


def test_one_outlier_moves_nothing_by_much() -> None:
    table = swept()
    for _ in range(20):
        observe(table, cost(1, 4))
    observe(table, 100.0)
    assert table.scale < 1.2
    assert table.score_seconds(1, 4) < 1.1 * cost(1, 4)


def test_drafting_that_becomes_dearer_is_noticed() -> None:
    table = swept()
    for _ in range(300):
        observe(table, cost(1, 4), draft=0.012, draft_steps=4)
    assert table.draft_start_seconds(1) + 4 * table.draft_seconds(1) == pytest.approx(0.012, rel=0.1)


def test_the_start_of_a_draft_is_told_from_its_steps() -> None:
    table = swept()
    for index in range(3000):
        steps = (1, 2, 2, 3)[index % 4]
        observe(table, cost(1, 4), draft=0.0017 + 0.0004 * steps, draft_steps=steps)
    assert table.draft_start_seconds(1) == pytest.approx(0.0017, rel=0.1)
    assert table.draft_seconds(1) == pytest.approx(0.0004, rel=0.2)


def test_what_all_visited_cells_share_does_not_make_the_others_cheaper() -> None:
    table = swept()
    before = table.score_seconds(1, 1) / table.score_seconds(1, 4)
    for _ in range(500):  # contexts got longer, say: only steps with drafts are there to show it
        observe(table, 1.6 * cost(1, 4), rows=4)
    assert table.score_seconds(1, 1) / table.score_seconds(1, 4) == pytest.approx(before, rel=0.02)


def test_sizes_beyond_the_table_are_answered_by_its_edge_and_not_learned() -> None:
    table = swept()
    assert table.score_seconds(100, 10_000) == table.score_seconds(8, 10_000)
    table.observe(batch=100, rows=200, drafting=1, draft_steps=0, score=9.0, draft=0.0, overhead=0.0)
    assert table.scale == 1.0
