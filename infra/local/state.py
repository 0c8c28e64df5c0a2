"""What survives a stop of the local service, all under one folder (`var/`):

run/secrets.json   generated once, mode 600        postgres/ valkey/ s3/   the services' data
run/ports.json     ports of the inner services     node/                   the node's spools and artifacts
run/demo.json      the demo tenant's login, keys   log/                    one file per process
run/lock           held while the service runs     models/ static/         converted model, collected files
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.local.process import ServiceError, free_ports, is_port_free

_NEEDED_BYTES = 500 << 20
_HIGHEST_PORT = 55535  # SeaweedFS derives other ports from these


@dataclass(frozen=True, slots=True)
class Secrets:
    """Generated on the first start. signing_key: base64 of a raw Ed25519 private key."""

    django_secret_key: str
    key_pepper: str
    signing_key: str
    broker_password: str
    s3_access_key: str
    s3_secret_key: str
    s3_signing_key: str

    @classmethod
    def new(cls) -> Secrets:
        return cls(
            django_secret_key=secrets.token_urlsafe(50),
            key_pepper=secrets.token_urlsafe(32),
            signing_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            broker_password=secrets.token_urlsafe(24),
            s3_access_key=secrets.token_hex(10).upper(),
            s3_secret_key=secrets.token_urlsafe(30),
            s3_signing_key=secrets.token_urlsafe(32),
        )


def public_key_of(signing_key: str) -> str:
    """Base64 of the raw Ed25519 public key that belongs to a base64 private key."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(signing_key))
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of 127.0.0.1 that the inner services listen on."""

    postgres: int
    valkey: int
    s3: tuple[int, ...]

    @classmethod
    def new(cls) -> Ports:
        ports = free_ports(10, below=_HIGHEST_PORT)
        return cls(postgres=ports[0], valkey=ports[1], s3=tuple(ports[2:]))

    @property
    def all(self) -> tuple[int, ...]:
        return (self.postgres, self.valkey, *self.s3)


class State:
    """The folder, locked: a second `make run` on the same folder is refused. Close it to unlock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.run = self.folder / "run"
        self.logs = self.folder / "log"
        for path in (self.run, self.logs):
            path.mkdir(parents=True, exist_ok=True)
        self.run.chmod(0o700)
        if shutil.disk_usage(self.folder).free < _NEEDED_BYTES:
            raise ServiceError(f"The disk is full: less than {_NEEDED_BYTES >> 20} MB are free for {self.folder}.")
        self._lock = self._acquire()
        try:
            self.secrets = self._load_secrets()
            self.ports = self._load_ports()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._lock.close()

    @property
    def demo_output(self) -> Path:
        """What `manage.py ensure_demo` printed: it holds secrets, so it lies in the private folder."""
        return self.run / "demo.log"

    def read(self, name: str) -> Any:
        """The JSON value of `run/name`, or None."""
        try:
            return json.loads((self.run / name).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ServiceError(f"{self.run / name} is not valid JSON: repair or delete it.") from error

    def write(self, name: str, value: Any) -> None:
        """Replace `run/name` atomically, readable by this user only."""
        temporary = self.run / f"{name}.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(value, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.run / name)

    def _acquire(self) -> IO[str]:
        lock = (self.run / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise ServiceError(
                f"Slipstream already runs from {self.folder} (process {holder}): stop it first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _load_secrets(self) -> Secrets:
        saved = self.read("secrets.json")
        if saved is None:
            created = Secrets.new()
            self.write("secrets.json", asdict(created))
            return created
        try:
            return Secrets(**{name: value for name, value in saved.items() if name != "node_token"})  # of before
        except TypeError as error:
            raise ServiceError(f"{self.run / 'secrets.json'} is incomplete: restore it from a backup.") from error

    def _load_ports(self) -> Ports:
        """The remembered ports, as long as nobody else has taken one of them."""
        saved = self.read("ports.json")
        if saved is not None:
            ports = Ports(saved["postgres"], saved["valkey"], tuple(saved["s3"]))
            if all(map(is_port_free, ports.all)):
                return ports
        ports = Ports.new()
        self.write("ports.json", asdict(ports))
        return ports
