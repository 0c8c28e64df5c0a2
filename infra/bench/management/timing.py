"""One call through Django's handler: how long it took, and what for.

Wall time is what the goals are about; on a machine that does other things too, CPU time says what remains of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST: dict[str, Any] = {"SERVER_NAME": "127.0.0.1"}  # one of ALLOWED_HOSTS


@dataclass(frozen=True, slots=True)
class Sample:
    """One call. Seconds: in all, of this process's CPU, of the CPU of PostgreSQL's process that serves it."""

    wall: float
    cpu: float
    database_cpu: float
    queries: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A path as one caller. status: of the answer; not 200: it could not be measured, and `problem` says why."""

    path: str
    caller: str
    status: int
    samples: tuple[Sample, ...] = ()
    problem: str = ""


def timed(call: Callable[[], Any]) -> tuple[Any, Sample]:
    from django.db import connection

    count = 0

    def counting(execute: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    connection.ensure_connection()
    backend = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    with connection.execute_wrapper(counting):
        wall, cpu, database = time.perf_counter(), time.process_time(), _on_cpu(backend)
        answer = call()
        sample = Sample(time.perf_counter() - wall, time.process_time() - cpu, _on_cpu(backend) - database, count)
    return answer, sample


def _on_cpu(schedstat: Path) -> float:
    """Seconds that a process has run. 0 where the kernel doesn't count them."""
    try:
        return int(schedstat.read_text().split()[0]) / 1e9
    except OSError:
        return 0.0
