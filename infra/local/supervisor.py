"""Starts processes as soon as what they need is ready, restarts those that die, stops all of them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.process import ServiceError, last_line, spawn

_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 30.0
_STABLE_SECONDS = 60.0  # a process that lived this long starts over with the first back-off


@dataclass(frozen=True)
class Service:
    """One process: how it starts, when it is ready, what must be ready before.

    is_ready None: a task, ready when it has ended with status 0. prepare runs once, right after the first readiness.
    stage: services stop by descending stage, those of one stage together.
    """

    name: str
    command: Callable[[], Sequence[str | Path]]
    environment: Callable[[], Mapping[str, str]]
    log: Path
    is_ready: Callable[[], bool] | None = None
    after: tuple[str, ...] = ()
    stage: int = 1
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 4.0
    nice: int = 0
    folder: Path | None = None
    prepare: Callable[[], None] | None = None


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    started_at: float
    ready_at: float | None = None
    log_offset: int = 0


@dataclass
class _Backoff:
    seconds: float = _FIRST_BACKOFF_SECONDS
    until: float = field(default=0.0)


class Supervisor:
    """Runs services. All calls come from one thread, which must live as long as the children (see `spawn`)."""

    def __init__(self, services: Sequence[Service], *, report: Callable[[str], None] = print) -> None:
        self._services = {service.name: service for service in services}
        self._running: dict[str, _Running] = {}
        self._backoffs: dict[str, _Backoff] = {}
        self._report = report

    def pid(self, name: str) -> int:
        return self._running[name].process.pid

    def start(self, *, timeout_seconds: float = 300.0, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Start everything, in parallel where possible. False: `cancelled` said so.

        Raises ServiceError when a process ends or does not get ready in time; the caller then calls `stop`.
        """
        deadline = time.monotonic() + timeout_seconds
        waiting = dict(self._services)
        while waiting:
            if cancelled():
                return False
            for name, service in list(waiting.items()):
                if name not in self._running and all(self._is_done(other) for other in service.after):
                    self.start_one(name)
                if name in self._running and self._check(service):
                    del waiting[name]
            if time.monotonic() > deadline:
                late = ", ".join(name for name in waiting if name in self._running)
                raise ServiceError(f"Not ready within {timeout_seconds:.0f} s: {late} (see the logs).")
            time.sleep(0.05)
        return True

    def start_one(self, name: str) -> None:
        """Start a service that isn't running, without waiting for it."""
        service = self._services[name]
        offset = service.log.stat().st_size if service.log.exists() else 0
        process = spawn(
            service.command(),
            log=service.log,
            environment=service.environment(),
            folder=service.folder,
            nice=service.nice,
        )
        self._running[name] = _Running(process, time.monotonic(), log_offset=offset)

    def wait_for(self, name: str, *, timeout_seconds: float = 60.0) -> None:
        """Until the running service `name` is ready. Raises ServiceError."""
        deadline = time.monotonic() + timeout_seconds
        while not self._check(self._services[name]):
            if time.monotonic() > deadline:
                raise ServiceError(f"{name} was not ready within {timeout_seconds:.0f} s.")
            time.sleep(0.05)

    def poll(self) -> None:
        """Notice what has died and start it again, later each time."""
        now = time.monotonic()
        for name, running in self._running.items():
            service = self._services[name]
            if service.is_ready is None:
                continue
            if running.process.poll() is None:
                if running.ready_at is None and service.is_ready():
                    running.ready_at = now
                    self._report(f"  {name} is ready again")
                elif running.ready_at is not None and now - running.started_at > _STABLE_SECONDS:
                    self._backoffs.pop(name, None)
                continue
            backoff = self._backoffs.setdefault(name, _Backoff())
            if not backoff.until:
                backoff.until = now + backoff.seconds
                status = _describe(running.process.returncode)
                self._report(f"  {name} {status}; starting it again in {backoff.seconds:.0f} s (see {service.log})")
            elif now >= backoff.until:
                _kill_group(running.process)
                self.start_one(name)
                backoff.until = 0.0
                backoff.seconds = min(2 * backoff.seconds, _LONGEST_BACKOFF_SECONDS)
                return  # the dictionary has changed

    def stop_one(self, name: str, *, kill: bool = False) -> None:
        """End one service, gracefully or at once."""
        service, running = self._services[name], self._running.pop(name, None)
        if running is None:
            return
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGKILL if kill else service.stop_signal)
            try:
                running.process.wait(service.grace_seconds)
            except subprocess.TimeoutExpired:
                pass
        _kill_group(running.process)

    def stop(self) -> None:
        """Stop everything, stage by stage. Nothing is left behind."""
        for stage in sorted({service.stage for service in self._services.values()}, reverse=True):
            members = [name for name in self._running if self._services[name].stage == stage]
            for name in members:
                process = self._running[name].process
                if process.poll() is None:
                    process.send_signal(self._services[name].stop_signal)
            started = time.monotonic()
            for name in members:
                running, service = self._running.pop(name), self._services[name]
                try:
                    running.process.wait(max(0.0, started + service.grace_seconds - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass
                _kill_group(running.process)

    def _is_done(self, name: str) -> bool:
        """Whether `name` is ready; a name that isn't ours (a managed service) counts as ready."""
        if name not in self._services:
            return True
        running = self._running.get(name)
        return running is not None and running.ready_at is not None

    def _check(self, service: Service) -> bool:
        running = self._running[service.name]
        if running.ready_at is not None:
            return True
        status = running.process.poll()
        if service.is_ready is None:
            if status is None:
                return False
            ready = status == 0
        else:
            ready = status is None and service.is_ready()
        if ready:
            if service.prepare is not None:
                service.prepare()
            running.ready_at = time.monotonic()
            self._report(f"  {service.name:<10} ready  {running.ready_at - running.started_at:5.1f} s")
        elif status is not None:
            reason = last_line(service.log)
            raise ServiceError(f"{service.name} {_describe(status)}: {reason} (see {service.log}).")
        return ready


def _describe(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of the child's process group (spawn made the child its leader)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
