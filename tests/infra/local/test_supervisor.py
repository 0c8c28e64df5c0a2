"""The supervisor, on small shell processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.process import ServiceError
from infra.local.supervisor import Service, Supervisor


class Yard:
    """Makes services that append their name to `order` when they start, and write `NAME.ready` when they are ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.supervisor: Supervisor | None = None

    def service(
        self, name: str, *, script: str | None = None, after: tuple[str, ...] = (), stage: int = 1, task: bool = False
    ) -> Service:
        ready = self.folder / f"{name}.ready"
        end = "" if task else "; sleep 600"
        default = f"echo {name} >> order; touch {name}.ready{end}"
        return Service(
            name=name,
            command=lambda: ["bash", "-c", script or default],
            environment=lambda: os.environ,
            log=self.folder / f"{name}.log",
            is_ready=None if task else ready.exists,
            after=after,
            stage=stage,
            folder=self.folder,
            grace_seconds=2.0,
        )

    def start(self, *services: Service) -> Supervisor:
        self.supervisor = Supervisor(services, report=self.lines.append)
        self.supervisor.start(timeout_seconds=20)
        return self.supervisor

    @property
    def order(self) -> list[str]:
        return (self.folder / "order").read_text().split()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    if made.supervisor is not None:
        made.supervisor.stop()


def test_a_service_starts_after_what_it_needs_and_a_task_is_ready_when_it_has_ended(yard: Yard) -> None:
    yard.start(
        yard.service("web", after=("migrate",)),
        yard.service("migrate", after=("database",), task=True),
        yard.service("database"),
    )
    assert yard.order == ["database", "migrate", "web"]


def test_a_need_that_is_managed_elsewhere_counts_as_ready(yard: Yard) -> None:
    yard.start(yard.service("web", after=("database",)))
    assert yard.order == ["web"]


def test_a_process_that_ends_before_it_is_ready_stops_the_start_with_its_last_words(yard: Yard) -> None:
    broken = yard.service("web", script="echo the port is taken; exit 3")
    with pytest.raises(ServiceError, match=r"web ended with exit status 3: the port is taken \(see .*web\.log\)"):
        yard.start(broken)


def test_a_process_that_dies_is_reported_and_started_again(yard: Yard) -> None:
    supervisor = yard.start(yard.service("web"))
    first = supervisor.pid("web")
    (yard.folder / "web.ready").unlink()
    os.kill(first, 9)
    deadline = time.monotonic() + 20
    while not any("ready again" in line for line in yard.lines):
        assert time.monotonic() < deadline
        supervisor.poll()
        time.sleep(0.02)
    assert supervisor.pid("web") != first
    assert any("was killed by SIGKILL; starting it again in 1 s" in line for line in yard.lines)


def test_services_stop_by_stage_and_leave_nothing(yard: Yard) -> None:
    trap = "trap 'echo {0} >> stopped; exit' TERM; touch {0}.ready; sleep 600 & wait"
    supervisor = yard.start(
        yard.service("database", script=trap.format("database"), stage=1),
        yard.service("node", script=trap.format("node"), stage=3),
        yard.service("web", script=trap.format("web"), stage=2),
    )
    pids = [supervisor.pid(name) for name in ("database", "node", "web")]
    supervisor.stop()
    assert (yard.folder / "stopped").read_text().split() == ["node", "web", "database"]
    assert not any(_has_members(pid) for pid in pids)


def test_a_start_can_be_cancelled(yard: Yard) -> None:
    yard.supervisor = Supervisor([yard.service("web", script="sleep 600")], report=yard.lines.append)
    began = time.monotonic()
    assert not yard.supervisor.start(cancelled=lambda: time.monotonic() > began + 0.2)


def _has_members(group: int) -> bool:
    """Whether the process group has members for more than the moment that init takes to reap them."""
    for _ in range(250):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True
