"""Streams in lock-step: drift, many tenants, and traffic that nobody can learn. Does adaptation ever cost anything?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from infra.bench.arms import (
    ADAPTIVE,
    MEMORY,
    MEMORY_GLOBAL,
    MOVING_AVERAGE,
    PLAIN,
    STATIC,
    STATIC_AGAIN,
    Arm,
    ArmSpec,
    Job,
)
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.lockstep import Race, per_lap, whole_stream, window_record
from infra.bench.sections.broad import speeds
from infra.bench.store import Record
from infra.bench.traffic import creative, drift, mixed, switching, zipf

_ALL = (PLAIN, STATIC, STATIC_AGAIN, MOVING_AVERAGE, MEMORY, MEMORY_GLOBAL, ADAPTIVE)
_FEW = (PLAIN, STATIC, STATIC_AGAIN, ADAPTIVE)
NAMES = ("drift", "creative", "mixed", "switching", "zipf")


def run(name: str, context: Context, box: Box, report: Report) -> Record:
    """One stream. The adaptive arm starts with whatever the tenants' training has brought."""
    stage, small = context.stage, context.quick
    if name == "drift":
        # The whole of A, B and A again, whatever the time: a part of it would be another workload.
        length = max(2, min(24, round(box.seconds / 9))) if not small else 2
        return _run(context, (PLAIN, STATIC, ADAPTIVE), drift(stage, length), 3 * length, box, report)
    if name == "creative":
        return _run(context, _FEW, creative(stage), 2, box, report)
    if name == "mixed":
        return _run(context, _ALL, mixed(stage, 24), 3, box, report)
    if name == "switching":
        return _run(context, _FEW, switching(stage, 60), 3, box, report)
    return _run(context, _FEW, zipf(stage, 120), 4, box, report)


def _run(
    context: Context, specs: Sequence[ArmSpec], groups: Iterable[Sequence[Job]], least: int, box: Box, report: Report
) -> Record:
    arms = [Arm(context.stage, spec) for spec in specs]
    for arm in arms:
        if arm.spec.mode == "adaptive" and arm.spec.static and context.deltas:
            arm.load_deltas(_deltas_of(context))
    race = Race(arms)
    for count, _ in enumerate(race.run(box.rounds(groups, least=least)), start=1):
        if count % 8 == 0:
            report(f"{count} requests: " + speeds(race))
    report(f"{len(race.laps)} requests: " + speeds(race))
    floor = race.floor()
    record = race.record() | {
        "floor": floor,
        "adaptive_over_plain": whole_stream(race, "adaptive", "plain"),
        "adaptive_over_static": whole_stream(race, "adaptive", "static"),
        "adaptive_over_static_per_request": per_lap(race, "adaptive", "static"),
        "windows": window_record(race, floor, "adaptive"),
    }
    if record["windows"]:
        report(f"worst of {len(record['windows'])} windows of 10 s: {min(record['windows']):.3f} of {floor}, "
               f"median {median(record['windows']):.2f}")  # fmt: skip
    return record


def _deltas_of(context: Context) -> dict[str, Path]:
    """Each tenant's own; the drifting project and the anti-workloads have learned from support letters before."""
    other = next(iter(context.deltas.values()))
    strangers = dict.fromkeys(("drifting", "creative", "switching"), context.deltas.get("support-desk", other))
    return context.deltas | strangers
