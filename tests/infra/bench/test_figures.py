"""Figures follow from the records: what is missing is said, and what is missed is called so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.bench.figures import FIGURES, Measured, floor_windows, measure_all, peer_ratios
from infra.bench.lockstep import Lap
from infra.bench.machine import Machine
from infra.bench.plan import NAMES, PlanError, chosen_names
from infra.bench.report import as_markdown, print_figures, write_report
from infra.bench.sections.curve import requests_to

ISSUE_KEYS = {
    "adapted_over_plain_replay", "adapted_over_plain_heldout", "static_over_plain_specbench",
    "adapted_over_static_drift", "requests_to_half", "requests_to_90", "floor_violation_share",
    "controller_over_best_fixed_min", "plain_over_llamacpp", "adapted_over_best_peer", "eight_rows_over_one",
    "adaptive_over_plain_creative",
}  # fmt: skip


def request(off: float, static: float, adaptive: float) -> dict[str, Any]:
    stats = {"control_seconds": 0.01, "draft_seconds": 0.1, "target_seconds": 0.89}
    speeds = {"off": off, "static": static, "adaptive": adaptive}
    modes = {mode: {"tokens_per_second": speed, "tokens": 100, "stats": stats} for mode, speed in speeds.items()}
    return {"modes": modes, "equal": True}


def tenant(ratio: float, speeds: dict[str, list[float | None]], half: int | None) -> dict[str, Any]:
    laps = [{"tenants": ["a"], "tokens": 10, "seconds": [1.0], "steps": [10]}] * 9
    return {
        "replay": [request(10, 12, 10 * ratio)] * 3,
        "heldout": [request(10, 12, 24)] * 3,
        "beside_peers": {"requests": 2, "speeds": speeds, "missing": {"vllm": "no wheel for this platform"}},
        "curve": {"requests_to_half": half, "requests_to_90": None, "window": 5, "laps": laps, "equal_outputs": 9,
                  "arms": ["cold"], "tokens_per_second": {"cold": 9.0}, "acceptance_length": {"cold": 2.0},
                  "seconds_to_half": 3.0, "seconds_to_90": None},
    }  # fmt: skip


def stream(laps: Sequence[tuple[float, float, float, float]]) -> dict[str, Any]:
    arms = ["static", "static again", "plain", "adaptive"]
    rows = [{"tokens": 100, "seconds": list(seconds)} for seconds in laps]
    ratio = {"value": sum(one[0] for one in laps) / sum(one[3] for one in laps)}
    found = {"arms": arms, "floor": "static", "laps": rows, "equal_outputs": len(rows)}
    return found | {"adaptive_over_static": ratio}


SPEEDS: dict[str, list[float | None]] = {
    "ours plain": [50.0, 52.0],
    "ours adapted": [120.0, 130.0],
    "llama.cpp bf16-plain": [60.0, 65.0],
    "llama.cpp q4_1-plain": [110.0, 110.0],
    "huggingface bf16-plain": [20.0, None],
}
RECORDS: dict[str, dict[str, Any]] = {
    "rows": {"over_one": {"8": {"value": 1.2, "low": 1.1, "high": 1.3, "count": 9}}},
    "tenant-a": tenant(2.0, SPEEDS, 1),
    "tenant-b": tenant(3.0, SPEEDS, 4),
    "tenant-c": tenant(4.0, SPEEDS, None),
    # 30 seconds of the floor, with a window over the seam of two requests, one of a request, and one of another stream.
    "creative": stream([(8.0, 10.0, 9.0, 4.0), (12.0, 12.0, 13.0, 20.0)]),
    "zipf": stream([(10.0, 9.0, 11.0, 5.0)]),
    "another": stream([(100.0, 100.0, 100.0, 200.0)]),  # none of the streams that the figure names
    "fixed": {
        "cells": {
            name: {
                "adaptive_over_best": {"value": value, "low": value, "high": value, "count": 3},
                "static_over_best": {"value": 1.0, "low": 1.0, "high": 1.0, "count": 3},
                "best_fixed": "plain",
                "equal_outputs": 3,
                "laps": 3,
            }
            for name, value in (("broad x1", 1.1), ("broad x8", 0.9))
        }
    },
}


def test_every_key_of_the_table_is_there() -> None:
    assert {figure.key for figure in FIGURES} >= ISSUE_KEYS
    assert all(figure.sections for figure in FIGURES)


def test_figures_are_computed_from_the_records() -> None:
    found = measure_all(RECORDS)
    assert found["adapted_over_plain_replay"].value == 3.0
    assert found["adapted_over_plain_heldout"].value == pytest.approx(2.4)
    assert found["eight_rows_over_one"].value == 1.2
    assert found["controller_over_best_fixed_min"].value == 0.9
    assert floor_windows(RECORDS) == pytest.approx([10 / (22 / 3), 10 / (50 / 3), 2])
    assert found["floor_violation_share"].value == pytest.approx(1 / 3)
    note = "3 windows, worst 0.600; worst stream creative 0.833; the same arm twice: 0.333 of 3, worst 0.833"
    assert found["floor_violation_share"].note == note
    assert found["controller_over_best_fixed_min"].note == "broad x8, best is plain; static alone 1.00, broad x1"
    assert found["requests_to_half"].value == 4
    assert found["requests_to_90"].value is None
    assert found["greedy_equal_share"].value == 1.0
    assert found["control_overhead_share"].value == pytest.approx(0.01)


def test_the_fastest_peer_at_our_precision_counts_and_an_incomplete_one_does_not() -> None:
    found = measure_all(RECORDS)
    assert found["adapted_over_best_peer"].value == pytest.approx(2.0)
    assert found["adapted_over_best_peer"].note == "fastest: llama.cpp bf16-plain"
    assert math.isclose(found["plain_over_llamacpp"].value or 0, (50 / 60 + 52 / 65) / 2, rel_tol=0.02)
    assert set(peer_ratios(RECORDS)) == {"llama.cpp bf16-plain", "llama.cpp q4_1-plain"}


def test_what_was_not_measured_has_no_value_and_says_what_it_needs() -> None:
    found = measure_all({})
    assert {one.value for one in found.values()} == {None}
    assert "Spec-Bench" in found["static_over_plain_specbench"].note


def test_verdicts_look_in_the_right_direction() -> None:
    by_key = {figure.key: figure for figure in FIGURES}
    assert by_key["eight_rows_over_one"].verdict(Measured(1.5)) == "MISSED"
    assert by_key["eight_rows_over_one"].verdict(Measured(1.3)) == "reached"
    assert by_key["adapted_over_best_peer"].verdict(Measured(1.3)) == "MISSED"
    assert by_key["adapted_over_best_peer"].verdict(Measured(None)) == "not measured"


def test_the_report_names_reached_missed_and_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine.now(tmp_path)
    path = write_report(RECORDS, machine, tmp_path, seconds=3.0, settings={})
    assert '"controller_over_best_fixed_min": "MISSED"' in path.read_text()
    text = as_markdown(RECORDS, measure_all(RECORDS), machine, seconds=3.0)
    assert "vllm: not available: no wheel for this platform" in text
    assert "| `adapted_over_plain_replay` | 3.000 |" in text
    print_figures(RECORDS, ["eight_rows_over_one"])
    assert capsys.readouterr().out.split() [:2] == ["eight_rows_over_one", "1.200"]  # fmt: skip


def lap(*seconds: float) -> Lap:
    return Lap(("a",), 100, seconds, (1,) * len(seconds), True)


def test_requests_until_a_share_of_the_gap_is_closed() -> None:
    names = ("plain", "static", "cold", "adapted")
    laps = [lap(10, 8, 8, 2)] * 6 + [lap(10, 8, 3, 2)] * 12 + [lap(10, 8, 2, 2)] * 12
    half, most = requests_to(0.5, laps, names, 5), requests_to(0.9, laps, names, 5)
    assert half is not None and most is not None
    assert (half, most) == (11, 23)  # the first windows of the second kind alone, and of the third
    assert requests_to(0.5, [lap(10, 8, 2, 2)] * 5, names, 5) == 5  # never less than a window tells
    assert requests_to(0.5, [lap(10, 8, 8, 2)] * 30, names, 5) is None
    assert requests_to(0.5, [lap(10, 8, 9, 8)] * 30, names, 5) is None  # nothing beats the floor


def test_names_and_figures_choose_sections_and_unknown_ones_are_refused() -> None:
    assert chosen_names([], [], quick=False) == list(NAMES)
    assert chosen_names(["rl", "drift"], [], quick=False) == ["drift", "rl"]
    assert chosen_names([], ["eight_rows_over_one"], quick=False) == ["rows"]
    assert chosen_names([], ["requests_to_half"], quick=True) == ["support-desk"]
    with pytest.raises(PlanError, match="no workload 'drifft'"):
        chosen_names(["drifft"], [], quick=False)
    with pytest.raises(PlanError, match="no figure 'speed'"):
        chosen_names([], ["speed"], quick=False)
