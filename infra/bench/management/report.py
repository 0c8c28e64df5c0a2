"""The table that people read and the JSON that programs compare."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import median
from typing import Any

from infra.bench.management.measure import Results
from infra.bench.management.timing import Measured, Sample

GOAL_CALL = 0.050  # seconds, 95th percentile, lists and details
GOAL_SNAPSHOT = 0.200
GOAL_POLL_QUERIES = 1


def percentile(samples: tuple[Sample, ...], share: float) -> float:
    """Of the wall time; nearest rank."""
    ordered = sorted(sample.wall for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def within_goal(measured: Measured) -> bool:
    if measured.status != 200:
        return False
    if measured.path.endswith("export"):
        return True  # no goal: it takes as long as what it hands out is large
    if measured.caller != "node":
        return percentile(measured.samples, 0.95) <= GOAL_CALL
    if "snapshot" in measured.path:
        return percentile(measured.samples, 0.95) <= GOAL_SNAPSHOT
    return "poll" not in measured.path or measured.samples[0].queries == GOAL_POLL_QUERIES


def write(results: Results, path: Path) -> bool:
    """Print the table, write the JSON; whether everything is within its goal."""
    print(f"\n{results.projects} projects, {results.events} usage events; load {os.getloadavg()[0]:.1f}")
    print(f"\n{'path':64} {'caller':9} {'p50 ms':>7} {'p95 ms':>7} {'CPU ms':>7} {'DB CPU':>7} {'queries':>7}")
    for one in results.calls:
        print(_line(one))
    body = {
        "projects": results.projects,
        "usage_events": results.events,
        "load_average": os.getloadavg(),
        "cores": len(os.sched_getaffinity(0)),
        "goals": {"p95_seconds": GOAL_CALL, "snapshot_seconds": GOAL_SNAPSHOT, "poll_queries": GOAL_POLL_QUERIES},
        "calls": [_row(one) for one in results.calls],
    }
    path.write_text(json.dumps(body, indent=1) + "\n")
    return all(within_goal(one) for one in results.calls)


def _row(one: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {"path": one.path, "caller": one.caller, "status": one.status, "within": within_goal(one)}
    if not one.samples:
        return row | {"problem": one.problem}
    return row | {
        "requests": len(one.samples),
        "p50_seconds": median(sample.wall for sample in one.samples),
        "p95_seconds": percentile(one.samples, 0.95),
        "cpu_seconds": median(sample.cpu for sample in one.samples),
        "database_cpu_seconds": median(sample.database_cpu for sample in one.samples),
        "queries": one.samples[-1].queries,
    }


def _line(one: Measured) -> str:
    start = f"{one.path.removeprefix('api/v1/'):64.64} {one.caller:9}"
    if not one.samples:
        return f"{start} not measured: {one.status} {one.problem[:100]}"
    row = _row(one)
    times = " ".join(
        f"{1000 * row[name]:7.1f}" for name in ("p50_seconds", "p95_seconds", "cpu_seconds", "database_cpu_seconds")
    )
    return f"{start} {times} {row['queries']:7}{'' if row['within'] else '  over the goal'}"
