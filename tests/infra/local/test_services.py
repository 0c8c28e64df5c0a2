"""The embedded services."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError

from infra.local.postgres import OWNER_ROLE, RUNTIME_ROLE, SUPERUSER, Postgres
from infra.local.process import ServiceError, free_ports, is_port_free, spawn, stop
from infra.local.seaweedfs import AccessKey, SeaweedFS
from infra.local.valkey import Valkey


def test_the_runtime_role_cannot_bypass_anything(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        privileges = "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s"
        for role in (RUNTIME_ROLE, OWNER_ROLE):
            assert connection.execute(privileges, [role]).fetchone() == (False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (id int)")


def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    address = f"postgresql://{SUPERUSER}:wrong@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)


def test_committed_rows_survive_a_killed_server(tmp_path: Path) -> None:
    with Postgres(tmp_path) as first:
        with psycopg.connect(first.owner_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert first.process is not None
        first.process.kill()
        first.process.wait()
        with Postgres(tmp_path) as second, psycopg.connect(second.url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_postgres_whose_port_is_taken_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceError, match="PostgreSQL ended"), Postgres(tmp_path, port=taken.getsockname()[1]):
            pass


def test_valkey_asks_for_its_password_and_keeps_its_messages(tmp_path: Path) -> None:
    import redis

    with Valkey(tmp_path, password="right") as first:
        with redis.Redis(port=first.port, password="wrong") as intruder, pytest.raises(redis.AuthenticationError):
            intruder.ping()
        with redis.Redis.from_url(first.url) as client:
            client.lpush("celery", "message")
    with Valkey(tmp_path, password="right") as second, redis.Redis.from_url(second.url) as client:
        assert client.lrange("celery", 0, -1) == [b"message"]


def test_s3_refuses_a_wrong_secret_and_overwrites_nothing_on_condition(s3: SeaweedFS) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="conditional", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=s3.bucket, Key="conditional", Body=b"second", IfNoneMatch="*")
    assert client.get_object(Bucket=s3.bucket, Key="conditional")["Body"].read() == b"first"

    right, s3.key = s3.key, AccessKey(s3.key.access_key, "wrong")
    try:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            s3.client().get_object(Bucket=s3.bucket, Key="conditional")
    finally:
        s3.key = right


def test_s3_keeps_acknowledged_objects_over_a_restart(tmp_path: Path) -> None:
    with SeaweedFS(tmp_path) as first:
        first.client().put_object(Bucket=first.bucket, Key="kept", Body=b"value")
    with SeaweedFS(tmp_path, key=first.key) as second:
        assert second.client().get_object(Bucket=second.bucket, Key="kept")["Body"].read() == b"value"


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20, below=55535)
    assert len(set(ports)) == 20
    assert max(ports) < 55535
    assert all(map(is_port_free, ports))


def test_stop_kills_the_whole_process_group_of_a_child_that_ignores_signals(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $!; wait; sleep 600"
    child = spawn(["bash", "-c", script], log=tmp_path / "log")
    grandchild = int(_first_line(tmp_path / "log"))
    stop(child, grace_seconds=0.2)
    assert child.returncode == -signal.SIGKILL
    _assert_gone(grandchild)


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Also PostgreSQL, which root starts in a user namespace."""
    script = f"""
import time
from pathlib import Path
from infra.local.postgres import Postgres
from infra.local.process import spawn
postgres = Postgres(Path({str(tmp_path)!r}) / "postgres", durable=False)
postgres.start()
postgres.wait()
child = spawn(["sleep", "600"], log=Path({str(tmp_path)!r}) / "log")
print(postgres.process.pid, child.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    for pid in pids:
        _assert_gone(pid)


def _first_line(path: Path) -> str:
    for _ in range(200):
        if path.exists() and "\n" in path.read_text():
            return path.read_text().splitlines()[0]
        time.sleep(0.02)
    raise AssertionError(f"nothing was written to {path}")


def _assert_gone(pid: int) -> None:
    for _ in range(400):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if status == "Z":  # nobody has reaped it yet
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} still runs")
