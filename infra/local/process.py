"""Child processes that never outlive their parent, and the ports that they listen on."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ServiceError(Exception):
    """A service cannot run. The message is one sentence that says what to do about it."""


def spawn(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    nice: int = 0,
) -> subprocess.Popen[bytes]:
    """Start a direct child in a session of its own, its output appended to `log`.

    The kernel kills the child when the *thread* that called this dies (PR_SET_PDEATHSIG), so call it from a thread
    that lives as long as the child may. Everything here survives that signal; a softer one lets a dying worker still
    fork. A session of its own keeps the terminal's Ctrl-C from reaching the child, which is stopped in order instead.
    """
    parent = os.getpid()

    def before_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before prctl
            os._exit(1)
        if nice:
            os.nice(nice)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                [os.fspath(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=folder,
                start_new_session=True,
                preexec_fn=before_exec,
            )
        except OSError as error:
            raise ServiceError(f"Cannot start {arguments[0]}: {error.strerror}.") from error


def stop(process: subprocess.Popen[bytes], *, stop_signal: int = signal.SIGTERM, grace_seconds: float = 5.0) -> None:
    """Ask the child to end, wait, then kill its whole process group: nothing of it stays."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the group's id is the pid of the leader: spawn made a session
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], *, name: str, log: Path, timeout_seconds: float
) -> None:
    """Poll `ready` until it is true. Raises ServiceError, with the log's last line, if the child ends or time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if process.poll() is not None:
            raise ServiceError(f"{name} ended with exit status {process.returncode}: {last_line(log)} (see {log}).")
        if time.monotonic() > deadline:
            raise ServiceError(f"{name} was not ready within {timeout_seconds:.0f} s: {last_line(log)} (see {log}).")
        time.sleep(0.05)


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, shortened; what a person would look at first."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "no log"
    return lines[-1].strip()[:300] if lines else "empty log"


def free_ports(count: int, *, below: int = 65536) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different, each below `below`."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            candidate = socket.socket()
            candidate.bind(("127.0.0.1", 0))
            if candidate.getsockname()[1] < below:
                sockets.append(candidate)
            else:
                candidate.close()
        return [candidate.getsockname()[1] for candidate in sockets]
    finally:
        for candidate in sockets:
            candidate.close()


def is_port_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be bound now (a connection in TIME_WAIT doesn't count)."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
