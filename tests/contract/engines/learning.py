"""A learning round: an engine answers, the real training process makes a delta of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import zstandard

from dataplane.contracts import TrafficRecord, TrainingReport, TrainingSpec, canonical_json, from_dict
from dataplane.engines.base import Engine
from tests.contract.engines.worlds import REPEATED, ROOT, Answer, ask, request

DELTA = "delta.safetensors"


def answered(engine: Engine, folder: Path) -> Path:
    """A segment of traffic: what the engine says to REPEATED."""

    async def together() -> list[Answer]:
        wanted = (
            request(f"learn_{index}", prompt, 48, project="prj_learn", mode="off")
            for index, prompt in enumerate(REPEATED)
        )
        return list(await asyncio.gather(*(ask(engine, one) for one in wanted)))

    records = [
        TrafficRecord(
            f"trf_{index:04d}", "prj_learn", "end_learn", "tiny",
            f"2026-01-01T00:{index // 60:02d}:{index % 60:02d}Z", prompt, tuple(answer.tokens),
        )
        for index, (prompt, answer) in enumerate(zip(REPEATED, asyncio.run(together()), strict=True))
    ]  # fmt: skip
    segment = folder / "segment.jsonl.zst"
    lines = b"\n".join(canonical_json(record) for record in records) + b"\n"
    segment.write_bytes(zstandard.ZstdCompressor().compress(lines))
    return segment


def train(segments: Sequence[Path], project_id: str, target: Path, static: Path, folder: Path) -> TrainingReport:
    """Run the training process over the segments; the delta lies in the folder as DELTA."""
    paths = tuple(map(str, segments))
    spec = TrainingSpec("run_1", project_id, str(target), str(static), paths, (), heldout_records=6)
    (folder / "spec.json").write_bytes(canonical_json(spec))
    command = [sys.executable, "-m", "dataplane.training", str(folder / "spec.json"), str(folder)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert child.returncode == 0, child.stderr
    report: TrainingReport = from_dict(TrainingReport, json.loads((folder / "report.json").read_text()))
    assert report.outcome == "trained", report.reason
    assert report.greedy_identical
    return report
