"""`make run` as a person uses it: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.local.process import free_ports
from infra.local.services import REPOSITORY
from tests.e2e.running import clean_environment, eventually


def test_a_port_in_use_is_one_sentence_and_exit_status_1(tmp_path: Path, real_model: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            _command(tmp_path, port, free_ports(1)[0]),
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"make run: Port {port} for the control plane is in use: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert _processes_of(tmp_path) == []


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    command = [*_command(tmp_path / "var", *free_ports(2)), "--model", str(tmp_path)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"make run: There is no model in {tmp_path}: run infra/bootstrap.sh, or give --model."


@pytest.mark.crash
@pytest.mark.real_model
@pytest.mark.timeout(900)
def test_state_survives_a_killed_run_and_ctrl_c_leaves_no_process(tmp_path: Path, real_model: Path) -> None:
    ports = free_ports(2)
    with _up(tmp_path, *ports) as first:
        printed = _until_running(first)
        key = re.search(r"API key (\S+)", printed)
        assert key is not None
        assert f"http://127.0.0.1:{ports[0]}/" in printed
        assert f"curl http://127.0.0.1:{ports[1]}/v1/chat/completions" in printed
        assert len(_processes_of(tmp_path)) > 5
        first.kill()
        first.wait()
    eventually(lambda: not _processes_of(tmp_path), seconds=60, what="the children of a killed run end")

    with _up(tmp_path, *ports) as second:
        assert key[1] in _until_running(second), "the demo's key survives"
        models = httpx.get(
            f"http://127.0.0.1:{ports[1]}/v1/models", headers={"Authorization": f"Bearer {key[1]}"}, trust_env=False
        )
        assert [model["id"] for model in models.json()["data"]] == ["assistant"]
        second.send_signal(signal.SIGINT)
        assert second.wait(120) == 0
    assert _processes_of(tmp_path) == []


def _command(var: Path, port: int, node_port: int) -> list[str]:
    arguments = ["up", "--var", str(var), "--port", str(port), "--node-port", str(node_port)]
    return [sys.executable, "-m", "infra.local", *arguments]


@contextmanager
def _up(var: Path, port: int, node_port: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        _command(var, port, node_port), cwd=REPOSITORY, env=clean_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def _until_running(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("State and logs:"):
            return "".join(lines)
    raise AssertionError("it did not start:\n" + "".join(lines))


def _processes_of(folder: Path) -> list[int]:
    """Processes that were started with this state folder: in their arguments, or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            if any(os.fsencode(folder) in (process / name).read_bytes() for name in ("cmdline", "environ")):
                found.append(int(process.name))
        except OSError:
            continue  # it ended, or is not ours
    return found
