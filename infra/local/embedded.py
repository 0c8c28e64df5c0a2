"""What the three embedded servers have in common: `with Server(folder) as server: server.…`."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.process import spawn, stop, wait_until


class EmbeddedServer:
    """One server on 127.0.0.1 as a direct child. A subclass says how it starts and when it is ready."""

    name = ""
    stop_signal: int = signal.SIGTERM
    grace_seconds = 5.0
    timeout_seconds = 40.0

    def __init__(self, folder: Path, log: Path | None) -> None:
        self.folder = folder.resolve()
        self.log = log or self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        """Prepare the folder, and return the command line."""
        raise AssertionError("a subclass says it")

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def answers(self) -> bool:
        """Whether a client is served now."""
        raise AssertionError("a subclass says it")

    def prepare(self) -> None:
        """What has to be in the server before anybody uses it; idempotent."""

    def start(self) -> None:
        """Spawn the server. Doesn't wait."""
        self.process = spawn(
            self.command(),
            log=self.log,
            environment=self.environment(),
            folder=self.folder,
        )

    def wait(self) -> None:
        """Until the server is ready for use. Raises ServiceError."""
        assert self.process is not None
        wait_until(self.answers, self.process, name=self.name, log=self.log, timeout_seconds=self.timeout_seconds)
        self.prepare()

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process, stop_signal=self.stop_signal, grace_seconds=self.grace_seconds)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def write_private(path: Path, text: str) -> None:
    """Replace a file that only this user can read."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def new_password() -> str:
    return secrets.token_urlsafe(24)
