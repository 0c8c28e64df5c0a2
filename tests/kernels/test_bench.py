"""The benches of the accept step and of the engine run without a GPU too, and say that they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def run(name: str, out: Path) -> subprocess.CompletedProcess[str]:
    paths = [REPOSITORY, REPOSITORY / "kernels", REPOSITORY / "infra/client/src"]
    return subprocess.run(
        [sys.executable, REPOSITORY / "kernels/bench" / name, "--out", out],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_bench_of_verification_runs_in_its_cpu_form(tmp_path: Path) -> None:
    done = run("verification.py", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.glob("verification-cpu-*.json")
    report = json.loads(path.read_text())
    assert report["form"].startswith("CPU form")
    assert len(report["cells"]) == 6 and all(cell["right"] for cell in report["cells"])
    assert all("seconds" not in cell for cell in report["cells"]), "no figure of speed without a GPU"
    assert "eager" not in report["not_measured"]
    assert {"commit", "processor"} <= set(report["machine"])


@pytest.mark.real_model
def test_the_bench_of_the_engine_runs_in_its_cpu_form(tmp_path: Path) -> None:
    done = run("engine.py", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.glob("engine-cpu-*.json")
    report = json.loads(path.read_text())
    assert report["form"].startswith("CPU form")
    assert set(report["arms"]) == {"plain", "graphs", "static", "adapted"}
    assert all(arm["share_equal"] == 1 for arm in report["arms"].values())
    assert all("tokens_per_second" not in arm for arm in report["arms"].values()), "no figure of speed without a GPU"
    assert report["arms"]["plain"]["acceptance_length"] == report["arms"]["graphs"]["acceptance_length"] == 1
    assert report["arms"]["adapted"]["accepted_by_source"]["memory"] > 0
    assert {"commit", "processor"} <= set(report["machine"])
