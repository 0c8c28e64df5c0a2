"""Whose run is next? Round robin over projects, within quotas: a pure function of what waits and what was served.

A project's place in the line is the moment at which it was last served or, if it never was, at which it began to wait;
the earliest place is next. Serving a project moves it behind everybody who waits. Hence nobody starves, whatever the
others queue: between two runs of a waiting project that is below its quotas, and before the first one of a newcomer,
each other project is served at most once. With N projects waiting, W workers and runs of at most T seconds
(`SLIPSTREAM_TRAINING_WALL_SECONDS`), the wait is at most T * ceil(N / W).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Quotas:
    """Shares of a project, or an organization. The running ones make a run wait, the daily ones refuse a new one."""

    project_running: int = 1
    organization_running: int = 4
    project_runs_per_day: int = 96
    project_seconds_per_day: int = 14400


@dataclass(frozen=True, slots=True)
class Waiting:
    run_id: str
    project_id: str
    organization_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """What workers did and do: runs that are leased now, and when each project last got a worker."""

    running_by_project: Mapping[str, int] = field(default_factory=Counter)
    running_by_organization: Mapping[str, int] = field(default_factory=Counter)
    last_by_project: Mapping[str, datetime] = field(default_factory=dict)


def next_run(waiting: Iterable[Waiting], served: Served, quotas: Quotas) -> Waiting | None:
    """The run that a free worker takes; None if all that wait are at their quotas."""
    admissible = [
        run
        for run in waiting
        if served.running_by_project.get(run.project_id, 0) < quotas.project_running
        and served.running_by_organization.get(run.organization_id, 0) < quotas.organization_running
    ]
    return min(
        admissible,
        key=lambda run: (served.last_by_project.get(run.project_id, run.since), run.since, run.run_id),
        default=None,
    )
