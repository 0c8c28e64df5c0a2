"""One call through Django's handler: how long it took, and what for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HOST: dict[str, Any] = {"SERVER_NAME": "127.0.0.1"}  # one of ALLOWED_HOSTS


@dataclass(frozen=True, slots=True)
class Sample:
    """One call. Seconds; `cpu` is this process's, `database` the time spent waiting for PostgreSQL."""

    wall: float
    cpu: float
    database: float
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

    spent: list[float] = []

    def wrapper(execute: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            spent.append(time.perf_counter() - started)

    with connection.execute_wrapper(wrapper):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = call()
        sample = Sample(time.perf_counter() - wall, time.process_time() - cpu, sum(spent), len(spent))
    return answer, sample
