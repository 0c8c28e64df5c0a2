"""The figures with their intervals and thresholds, and everything that they were computed from."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from infra.bench.adaptation import Comparison, Life
from infra.bench.lockstep import AntiWorkload
from infra.bench.peer import PeerRun
from infra.bench.rows import RowsRun
from infra.bench.stage import MODES, Run
from infra.bench.statistics import Interval, paired_ratio

# What each ratio has to reach, and whether as at least (+1) or at most (-1).
TARGETS: dict[str, tuple[float, int]] = {
    "plain_over_huggingface": (1.5, 1),
    "adapted_over_plain_replay": (2.0, 1),
    "adapted_over_plain_heldout": (1.5, 1),
    "adapted_over_static_heldout": (1.2, 1),
    "worst_window_adaptive_over_static": (0.95, 1),
    "greedy_equal_share": (1.0, 1),
    "control_overhead_share": (0.02, -1),
    "eight_rows_over_one": (1.4, -1),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran, and how busy the machine was before it began."""

    processor: str
    cores: int
    memory_bytes: int
    platform: str
    python: str
    torch: str
    commit: str
    modified_files: int
    started_at: str
    load_average: tuple[float, float, float]

    @classmethod
    def now(cls, repository: Path) -> Machine:
        def git(*arguments: str) -> str:
            done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, text=True, check=False)
            return done.stdout.strip()

        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            platform=platform.platform(),
            python=platform.python_version(),
            torch=torch.__version__,
            commit=git("rev-parse", "HEAD") or "unknown",
            modified_files=len(git("status", "--porcelain").splitlines()),
            started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            load_average=os.getloadavg(),
        )


@dataclass(frozen=True, slots=True)
class Measurements:
    peer: list[PeerRun]
    lives: list[Life]
    anti: AntiWorkload
    forwards: list[RowsRun]


def ratios(measured: Measurements) -> dict[str, float]:
    """The figures that the targets are about; those over tenants are the median of the tenants' own."""
    comparisons = [one for life in measured.lives for one in (*life.replay, *life.heldout)]
    adaptive = [one.runs[MODES.index("adaptive")] for one in comparisons]
    tenants = [tenant_ratios(life) for life in measured.lives]
    return {
        "plain_over_huggingface": _over_peer(measured.peer).value,
        **{
            name: median(tenant[name].value for tenant in tenants)
            for name in ("adapted_over_plain_replay", "adapted_over_plain_heldout", "adapted_over_static_heldout")
        },
        "worst_window_adaptive_over_static": min(window.adaptive_over_static for window in measured.anti.windows),
        "greedy_equal_share": sum(one.is_equal for one in comparisons) / len(comparisons),
        "control_overhead_share": sum(run.stats.control_seconds for run in adaptive)
        / sum(run.step_seconds for run in adaptive),
        "eight_rows_over_one": _eight_over_one(measured.forwards).value,
    }


def tenant_ratios(life: Life) -> dict[str, Interval]:
    """Paired per request: both modes ran one right after the other."""
    return {
        "adapted_over_plain_replay": _over(life.replay, "adaptive", "off"),
        "adapted_over_static_replay": _over(life.replay, "adaptive", "static"),
        "adapted_over_plain_heldout": _over(life.heldout, "adaptive", "off"),
        "adapted_over_static_heldout": _over(life.heldout, "adaptive", "static"),
        "static_over_plain_heldout": _over(life.heldout, "static", "off"),
    }


def print_ratios(measured: Measurements) -> None:
    print()
    for name, value in ratios(measured).items():
        target, sign = TARGETS[name]
        reached = "reached" if sign * value >= sign * target else "MISSED"
        print(f"  {name:36} {value:7.3f}   {'at least' if sign > 0 else 'at most'} {target:g}: {reached}")
    print()
    for life in measured.lives:
        intervals = tenant_ratios(life).items()
        shown = "  ".join(f"{name} {one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for name, one in intervals)
        print(f"  {life.workload}: {shown}")
    print()


def write_report(measured: Measurements, machine: Machine, threads: int, folder: Path, *, seconds: float) -> Path:
    """Write report.json atomically; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "ratios": ratios(measured),
        "targets": {name: {"value": value, "at_least": sign > 0} for name, (value, sign) in TARGETS.items()},
        "intervals": {
            "plain_over_huggingface": dataclasses.asdict(_over_peer(measured.peer)),
            "eight_rows_over_one": dataclasses.asdict(_eight_over_one(measured.forwards)),
            "tenants": {
                life.workload: {name: dataclasses.asdict(interval) for name, interval in tenant_ratios(life).items()}
                for life in measured.lives
            },
        },
        "machine": dataclasses.asdict(machine) | {"threads": threads, "load_average_after": os.getloadavg()},
        "seconds": seconds,
        "runs": {
            "peer": [dataclasses.asdict(run) for run in measured.peer],
            "forwards": [dataclasses.asdict(run) for run in measured.forwards],
            "tenants": [_life(life) for life in measured.lives],
            "anti_workload": {
                "windows": [
                    dataclasses.asdict(window) | {"adaptive_over_static": window.adaptive_over_static}
                    for window in measured.anti.windows
                ],
                "tokens": measured.anti.tokens,
                "seconds": measured.anti.seconds,
                "equal_outputs": measured.anti.equal_outputs,
            },
        },
    }
    path = folder / "report.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(report, indent=1))
    temporary.rename(path)
    return path


def _over(compared: Sequence[Comparison], numerator: str, denominator: str) -> Interval:
    speeds = {mode: [one.runs[index].tokens_per_second for one in compared] for index, mode in enumerate(MODES)}
    return paired_ratio(speeds[numerator], speeds[denominator])  # type: ignore[index]


def _over_peer(runs: Sequence[PeerRun]) -> Interval:
    return paired_ratio([run.plain for run in runs], [run.huggingface for run in runs])


def _eight_over_one(runs: Sequence[RowsRun]) -> Interval:
    return paired_ratio([run.eight for run in runs], [run.one for run in runs])


def _life(life: Life) -> dict[str, Any]:
    return {
        "workload": life.workload,
        "requests_learned_from": len(life.learning),
        "learning_seconds": life.learning_seconds,
        "training": dataclasses.asdict(life.training),
        "training_seconds": life.training_seconds,
        "promoted": life.promoted,
        "learning": [_run(run) for run in life.learning],
        "replay": [[_run(run) for run in one.runs] for one in life.replay],
        "heldout": [[_run(run) for run in one.runs] for one in life.heldout],
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "mode": run.mode,
        "prompt_tokens": run.prompt_tokens,
        "tokens": len(run.tokens),
        "seconds": run.seconds,
        "tokens_per_second": run.tokens_per_second,
        "acceptance_length": run.acceptance_length,
        "stats": dataclasses.asdict(run.stats),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
