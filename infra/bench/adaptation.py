"""One tenant's life: its traffic is served and logged, the training process learns from it, the node swaps, and then
the traffic that it adapted to and held-out traffic run in all modes by turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from dataplane.contracts import TrafficRecord, TrainingReport, TrainingSpec, canonical_json, from_dict, to_dict
from dataplane.speculation.registry import Desired
from infra.bench.prompts import Workload
from infra.bench.stage import MODES, Run, Stage

_TOGETHER = 4  # requests at once while learning: the outputs are the same, it only takes less time
_HELDOUT_SHARE = 0.2  # of the logged records, for the training process's own evaluation


@dataclass(frozen=True, slots=True)
class Comparison:
    """One request in all modes, one right after the other."""

    runs: tuple[Run, ...]  # in the order of MODES

    @property
    def is_equal(self) -> bool:
        return len({run.tokens for run in self.runs}) == 1


@dataclass(frozen=True, slots=True)
class Life:
    """What one tenant's traffic brought."""

    workload: str
    learning: tuple[Run, ...]
    learning_seconds: float
    training: TrainingReport
    training_seconds: float  # of the whole process
    promoted: bool
    delta_path: Path | None
    replay: tuple[Comparison, ...]
    heldout: tuple[Comparison, ...]


class TrainingError(RuntimeError):
    """The training process failed."""


def live(
    stage: Stage, workload: Workload, folder: Path, report: Callable[[str], None], *, replay: int, max_seconds: int
) -> Life:
    """Serve, learn, swap, measure. `replay`: how many of the learned requests to repeat."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = [stage.encode(messages, workload.max_tokens) for messages in workload.learn]
    began = time.monotonic()
    learning = _serve(stage, workload, prompts, report)
    learning_seconds = time.monotonic() - began
    records = [_record(workload.name, *item) for item in enumerate(zip(prompts, learning, strict=True))]
    began = time.monotonic()
    outcome = train(stage, workload.name, records, folder, max_seconds=max_seconds)
    training_seconds = time.monotonic() - began
    delta = folder / "out" / "delta.safetensors"
    promoted = outcome.outcome == "trained" and _gains(outcome)
    report(f"trained in {training_seconds:.0f} s: {outcome.outcome}, {_lengths(outcome)}; promoted: {promoted}")
    if promoted:
        stage.drafters.refresh({workload.name: Desired(workload.name, f"{workload.name}-1", delta)})
    measured = []
    step = max(1, len(prompts) // max(1, replay))
    for name, chosen in (
        ("replayed", prompts[::step][:replay]),
        ("held-out", [stage.encode(messages, workload.max_tokens) for messages in workload.heldout]),
    ):
        measured.append(_compare(stage, workload, chosen))
        report(f"{name}: " + _speeds(measured[-1]))
    return Life(
        workload=workload.name,
        learning=tuple(learning),
        learning_seconds=learning_seconds,
        training=outcome,
        training_seconds=training_seconds,
        promoted=promoted,
        delta_path=delta if promoted else None,
        replay=measured[0],
        heldout=measured[1],
    )


def train(
    stage: Stage, tenant: str, records: Sequence[TrafficRecord], folder: Path, *, max_seconds: int
) -> TrainingReport:
    """Run `python -m dataplane.training` as the control plane's worker does. Raises TrainingError."""
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


def _serve(
    stage: Stage, workload: Workload, prompts: Sequence[Sequence[int]], report: Callable[[str], None]
) -> list[Run]:
    runs: list[Run] = []
    for start in range(0, len(prompts), _TOGETHER):
        batch = prompts[start : start + _TOGETHER]
        runs += stage.run_together(
            batch, "adaptive", tenant=workload.name, max_tokens=workload.max_tokens, remember=True
        )
        if len(runs) % 20 == 0 or len(runs) == len(prompts):
            report(f"{len(runs)}/{len(prompts)} requests to learn from")
    return runs


def _compare(stage: Stage, workload: Workload, prompts: Sequence[Sequence[int]]) -> tuple[Comparison, ...]:
    """The order of the modes rotates, so that a drift of the machine's speed hits all of them."""
    compared = []
    for index, prompt in enumerate(prompts):
        turn = index % len(MODES)
        runs = {
            mode: stage.run(prompt, mode, tenant=workload.name, max_tokens=workload.max_tokens)
            for mode in MODES[turn:] + MODES[:turn]
        }
        compared.append(Comparison(tuple(runs[mode] for mode in MODES)))
    return tuple(compared)


def _record(tenant: str, index: int, served: tuple[Sequence[int], Run]) -> TrafficRecord:
    prompt, run = served
    return TrafficRecord(
        record_id=f"{tenant}-{index:05d}",
        project_id=tenant,
        endpoint_id=tenant,
        model="target",
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(index)),  # only the order matters
        prompt_tokens=tuple(prompt),
        output_tokens=run.tokens,
    )


def _gains(report: TrainingReport) -> bool:
    """A plain gate: the candidate looks further than the static speculator on records that it did not see."""
    arms = report.arms
    return report.greedy_identical and arms["candidate"].acceptance_length > arms["static"].acceptance_length


def _lengths(report: TrainingReport) -> str:
    return ", ".join(f"{name} {arm.acceptance_length:.2f}" for name, arm in report.arms.items()) or report.reason


def _speeds(compared: Sequence[Comparison]) -> str:
    speeds = [sorted(one.runs[index].tokens_per_second for one in compared) for index in range(len(MODES))]
    medians = ", ".join(f"{mode} {values[len(values) // 2]:.1f}" for mode, values in zip(MODES, speeds, strict=True))
    return f"tokens/s {medians}; equal outputs {sum(one.is_equal for one in compared)}/{len(compared)}"
