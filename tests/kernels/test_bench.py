"""The bench of the accept step runs without a GPU too, and says that it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_bench_of_verification_runs_in_its_cpu_form(tmp_path: Path) -> None:
    paths = [REPOSITORY, REPOSITORY / "kernels", REPOSITORY / "infra/client/src"]
    done = subprocess.run(
        [sys.executable, REPOSITORY / "kernels/bench/verification.py", "--out", tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.glob("verification-cpu-*.json")
    report = json.loads(path.read_text())
    assert report["form"].startswith("CPU form")
    assert len(report["cells"]) == 6 and all(cell["right"] for cell in report["cells"])
    assert all("seconds" not in cell for cell in report["cells"]), "no figure of speed without a GPU"
    assert "eager" not in report["not_measured"]
    assert {"commit", "processor"} <= set(report["machine"])
