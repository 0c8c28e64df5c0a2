"""An environment for each peer, made on demand under var/peers/NAME from a hashed requirements file.

Peers pin versions that would break ours. An environment is made again when its requirements change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from infra.bench.peers.base import PeerError, PeerKind

_STAMP = "requirements.sha256"


def interpreter(kind: PeerKind, repository: Path, report: Callable[[str], None], *, install: bool = True) -> Path:
    """The Python that runs the peer. Raises PeerError if it can't be installed (or may not be)."""
    if kind.requirements is None:
        return Path(sys.executable)
    folder = repository / "var" / "peers" / kind.name
    requirements = repository / "requirements" / kind.requirements
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    if python.exists() and _stamp(folder) == digest:
        return python
    if not install:
        raise PeerError("not installed, and --no-install was given")
    report(f"installing {kind.title} into {folder.relative_to(repository)} (once; its log is there)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _run(folder, [sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
        if kind.needs_torch:
            torch = f"torch=={version('torch').split('+')[0]}"
            try:
                _run(folder, [*pip, "--no-index", torch])
            except PeerError:  # no local build: the index's
                _run(folder, [*pip, torch])
        _run(folder, [*pip, "--require-hashes", "-r", str(requirements)], dict(kind.build_environment))
    except PeerError:
        shutil.rmtree(folder / "bin", ignore_errors=True)
        raise
    (folder / _STAMP).write_text(digest)
    return python


def _stamp(folder: Path) -> str:
    try:
        return (folder / _STAMP).read_text()
    except OSError:
        return ""


def _run(folder: Path, command: list[str], environment: dict[str, str] | None = None) -> None:
    log = folder / "install.log"
    with log.open("ab") as file:
        done = subprocess.run(
            command, env=os.environ | (environment or {}), stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no output")
        raise PeerError(f"can't be installed: {said.strip()[:200]} (details: {log})")
