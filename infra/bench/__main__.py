"""`make bench`: every figure side by side in one run, with the real model, in this process (no HTTP between).

plain decoding against Hugging Face; per tenant: serve, train with the training process, swap, then replayed and
held-out requests in the modes off, static and adaptive; an anti-workload in lock-step. Writes var/bench/report.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.bench.prompts import PromptsError, Workload, demo_workloads, file_workload

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MODEL = REPOSITORY / "var" / "models" / "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    peer: int  # prompts beside Hugging Face
    learn: int  # requests to learn from, per tenant
    replay: int
    heldout: int
    train_seconds: int
    anti_seconds: float


FULL = Size(peer=6, learn=48, replay=9, heldout=9, train_seconds=180, anti_seconds=60)
QUICK = Size(peer=2, learn=24, replay=3, heldout=3, train_seconds=120, anti_seconds=20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured (whatever the figures), 1 could not run."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=Path, help="JSON Lines with `prompt` or `turns`: measure this traffic")
    parser.add_argument("--quick", action="store_true", help="one tenant and few requests: a few minutes")
    parser.add_argument("--learn", type=int, help="requests to learn from, per tenant")
    parser.add_argument("--heldout", type=int, help="held-out requests per tenant")
    parser.add_argument("--model", type=Path, default=MODEL, help="target model folder")
    parser.add_argument("--static", type=Path, help="checkpoint folder of its static drafter")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "var" / "bench", help="folder of the report")
    given = parser.parse_args(arguments)
    size = QUICK if given.quick else FULL
    learn, heldout = given.learn or size.learn, given.heldout or size.heldout
    try:
        if given.prompts is not None:
            workloads = [file_workload(given.prompts, learn=learn, heldout=heldout)]
        else:
            workloads = demo_workloads(learn=learn, heldout=heldout)[: 1 if given.quick else None]
        static = given.static or REPOSITORY / "dataplane" / "checkpoints" / f"{given.model.name}-eagle3"
        for folder, what in ((given.model, "model"), (static, "static drafter")):
            if not (folder / "config.json").exists():
                raise FileNotFoundError(f"there is no {what} in {folder}")
    except (PromptsError, OSError) as error:
        print(f"make bench: {error}", file=sys.stderr)
        return 1
    return _measure(workloads, size, given.model, static, given.out, given.threads)


def _measure(workloads: list[Workload], size: Size, model: Path, static: Path, out: Path, threads: int) -> int:
    from infra.bench.adaptation import live
    from infra.bench.lockstep import run_anti_workload
    from infra.bench.peer import compare_with_huggingface
    from infra.bench.report import Machine, Measurements, print_ratios, write_report
    from infra.bench.rows import measure_rows
    from infra.bench.stage import Stage

    say = Clock()
    machine = Machine.now(REPOSITORY)
    say("loading the model, measuring the latency table")
    stage = Stage(model, static, threads=threads)
    try:
        say(f"forward passes in {stage.model.kernels}")
        forwards = measure_rows(stage)
        peer = compare_with_huggingface(stage, say.about("plain"), count=size.peer)
        lives = []
        for workload in workloads:
            folder = out / "training" / workload.name
            told = say.about(workload.name)
            lives.append(live(stage, workload, folder, told, replay=size.replay, max_seconds=size.train_seconds))
        delta = next((life.delta_path for life in lives if life.delta_path is not None), None)
        anti = run_anti_workload(stage, delta, say.about("anti-workload"), seconds=size.anti_seconds)
    finally:
        stage.close()
    measurements = Measurements(peer, lives, anti, forwards)
    print_ratios(measurements)
    print(f"Written: {write_report(measurements, machine, stage.threads, out, seconds=say.seconds)}")
    return 0


class Clock:
    """Progress on the terminal, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, line: str) -> None:
        print(f"[{self.seconds:5.0f} s] {line}", flush=True)

    def about(self, what: str) -> Callable[[str], None]:
        return lambda line: self(f"{what}: {line}")


if __name__ == "__main__":
    sys.exit(main())
