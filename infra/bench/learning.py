"""A tenant's traffic is served and logged, and the training process learns from it, as in the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import zstandard

from dataplane.contracts import TrafficRecord, TrainingReport, TrainingSpec, canonical_json, from_dict, to_dict
from infra.bench.prompts import Workload
from infra.bench.stage import Run, Stage

_TOGETHER = 8  # requests at once while learning: the outputs are the same, it only takes less time
_HELDOUT_SHARE = 0.2  # of the logged records, for the training process's own evaluation


class TrainingError(RuntimeError):
    """The training process failed."""


def serve(stage: Stage, workload: Workload, prompts: Sequence[tuple[int, ...]]) -> list[Run]:
    """The requests to learn from, adaptive, remembered."""
    runs: list[Run] = []
    for start in range(0, len(prompts), _TOGETHER):
        batch = prompts[start : start + _TOGETHER]
        runs += stage.run_together(
            batch, "adaptive", tenant=workload.name, max_tokens=workload.max_tokens, remember=True
        )
    return runs


def records_of(tenant: str, prompts: Sequence[tuple[int, ...]], runs: Sequence[Run]) -> list[TrafficRecord]:
    """What the node would have logged, with the project's consent."""
    return [
        TrafficRecord(
            record_id=f"{tenant}-{index:05d}",
            project_id=tenant,
            endpoint_id=tenant,
            model="target",
            created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(index)),  # only the order matters
            prompt_tokens=prompt,
            output_tokens=run.tokens,
        )
        for index, (prompt, run) in enumerate(zip(prompts, runs, strict=True))
    ]


def train(
    stage: Stage, tenant: str, records: Sequence[TrafficRecord], folder: Path, *, max_seconds: int
) -> TrainingReport:
    """Run `python -m dataplane.training` as the control plane's worker does. Raises TrainingError."""
    folder.mkdir(parents=True, exist_ok=True)
    cut = len(records) - max(2, round(_HELDOUT_SHARE * len(records)))
    segments = {"learn.jsonl.zst": records[:cut], "heldout.jsonl.zst": records[cut:]}
    for name, content in segments.items():
        lines = b"".join(canonical_json(record) + b"\n" for record in content)
        (folder / name).write_bytes(zstandard.compress(lines))
    spec = TrainingSpec(
        training_run_id=f"run_{tenant}",
        project_id=tenant,
        target_path=str(stage.model_folder),
        static_path=str(stage.static_folder),
        train_segments=(str(folder / "learn.jsonl.zst"),),
        heldout_segments=(str(folder / "heldout.jsonl.zst"),),
        max_seconds=max_seconds,
        heldout_records=8,
        threads=stage.threads,
    )
    path, out = folder / "spec.json", folder / "out"
    path.write_text(json.dumps(to_dict(spec)))
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    # Threads that spin while they wait take the processor from each other as soon as anything else runs.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "dataplane.training", str(path), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TrainingError(f"the training process ended with {done.returncode}: {done.stderr[-2000:]}")
    return from_dict(TrainingReport, json.loads((out / "report.json").read_text()))


def gains(report: TrainingReport) -> bool:
    """A plain gate: the candidate looks further than the static speculator on records that it did not see."""
    if report.outcome != "trained":
        return False
    arms = report.arms
    return report.greedy_identical and arms["candidate"].acceptance_length > arms["static"].acceptance_length
