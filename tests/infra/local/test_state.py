"""What survives a stop of the local service."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import stat
from collections import namedtuple
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from infra.local.process import ServiceError
from infra.local.services import LocalServices, Options
from infra.local.state import State, public_key_of


def test_secrets_and_ports_survive_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    first = State(tmp_path)
    first.close()
    second = State(tmp_path)
    second.close()
    assert second.secrets == first.secrets
    assert second.ports == first.ports
    mode = (tmp_path / "run" / "secrets.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_the_public_key_verifies_what_the_signing_key_signs(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.close()
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(state.secrets.signing_key))
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key_of(state.secrets.signing_key)))
    public.verify(private.sign(b"manifest"), b"manifest")


def test_a_second_service_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(ServiceError, match=f"already runs from .* \\(process {os.getpid()}\\)"):
        State(tmp_path)
    state.close()


def test_a_port_that_somebody_else_took_is_replaced(tmp_path: Path) -> None:
    first = State(tmp_path)
    first.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.ports.valkey))
        other.listen()
        second = State(tmp_path)
        second.close()
    assert first.ports.valkey not in second.ports.all


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    State(tmp_path).close()
    (tmp_path / "run" / "secrets.json").write_text("{")
    with pytest.raises(ServiceError, match=r"secrets\.json is not valid JSON"):
        State(tmp_path)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 0))
    with pytest.raises(ServiceError, match=r"^The disk is full: less than 500 MB are free for .*\.$"):
        State(tmp_path)


def test_a_port_in_use_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    state = State(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sentence = f'^Port {port} for the control plane is in use: stop .* make run ARGS="--port {port + 1}"\\.$'
        with pytest.raises(ServiceError, match=sentence):
            LocalServices(state, Options(port=port), environment={}).check()
    state.close()


def test_a_managed_service_is_not_started_here(tmp_path: Path) -> None:
    state = State(tmp_path)
    managed = {
        "DATABASE_URL": "postgresql://slipstream@db/slipstream",
        "DATABASE_OWNER_URL": "postgresql://owner@db/slipstream",
    }
    services = LocalServices(state, Options(), environment=managed)
    assert "postgres" not in {service.name for service in services.all()}
    assert services.control_plane_environment()["DATABASE_URL"] == managed["DATABASE_URL"]
    assert services.control_plane_environment(owner=True)["DATABASE_URL"] == managed["DATABASE_OWNER_URL"]
    state.close()


def test_a_node_gets_no_database_no_broker_and_no_signing_key(tmp_path: Path) -> None:
    state = State(tmp_path)
    given = {"DATABASE_URL": "postgresql://slipstream@db/slipstream", "BROKER_URL": "amqp://broker"}
    node = LocalServices(state, Options(), environment=given).node_environment()
    assert not {"DATABASE_URL", "DATABASE_OWNER_URL", "BROKER_URL", "SLIPSTREAM_SECRET_KEY"} & node.keys()
    assert state.secrets.signing_key not in node.values()
    state.close()
