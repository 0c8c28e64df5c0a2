"""The demo's report says what was measured, also when nothing was learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.demo.report import MODES, Adaptation, TenantResult, print_table, write_report
from infra.demo.turns import Turn


def turn(mode: str, *, seconds: float, text: str = "same", accepted: int = 0) -> Turn:
    return Turn(
        mode=mode,
        at=seconds,
        seconds=seconds,
        text=text,
        completion_tokens=60,
        decode_seconds=seconds,
        steps=60 - accepted,
        drafted=80,
        accepted=accepted,
        drafted_by_source={"static": 80},
        speculator_version=None,
    )


def result(adaptation: Adaptation) -> TenantResult:
    seconds = {"off": 3.0, "static": 2.0, "adaptive": 1.0}
    accepted = {"off": 0, "static": 20, "adaptive": 40}
    heldout = [turn(mode, seconds=seconds[mode], accepted=accepted[mode]) for _ in range(3) for mode in MODES]
    heldout[-1] = turn("adaptive", seconds=1.0, accepted=40, text="other")
    return TenantResult("desk", "A desk", (turn("adaptive", seconds=2.0),) * 4, tuple(heldout), adaptation)


def test_ratios_and_identical_outputs_come_from_the_held_out_requests(tmp_path: Path) -> None:
    tenant = result(Adaptation("succeeded", "gain 20 %", "spv_1", 50.0, 42.0))
    write_report([tenant], tmp_path, seconds=60)
    report = json.loads((tmp_path / "report.json").read_text())["tenants"][0]
    assert report["adaptive_over_plain"] == pytest.approx(3)
    assert report["adaptive_over_static"] == pytest.approx(2)
    assert report["acceptance_length"] == pytest.approx({"off": 1, "static": 1.5, "adaptive": 3})
    assert (report["identical_outputs"], report["heldout_requests"]) == (2, 3)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_rejected_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([result(Adaptation("rejected", "no gain measured", None, None, None))])
    shown = capsys.readouterr().out
    assert "not adapted" in shown
    assert "desk did not adapt: rejected: no gain measured" in shown
