"""The training child: an isolated process that sees one scratch folder and no secret.

worker ──start──> sandbox.py ──exec──> python -m dataplane.training SPEC OUT
   │                own session and process group, own namespaces and root, limits, dies with the worker
   └──poll: exit status; kill: the whole group
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SANDBOX = Path(__file__).with_name("sandbox.py")
STDERR_TAIL_BYTES = 4000


@dataclass(frozen=True, slots=True)
class ChildLimits:
    cpu_seconds: int
    memory_bytes: int
    file_bytes: int = 1 << 30
    open_files: int = 1024
    # And threads; each process may have `memory_bytes`: only a control group bounds their sum. The kernel exempts a
    # worker that is root.
    processes: int = 512
    nice: int = 10
    isolate: bool = True  # where the kernel can
    require: bool = False  # refuse where it can't


@dataclass(frozen=True, slots=True)
class Visible:
    """What of the machine exists for the child beside system libraries, the interpreter and its scratch folder."""

    read_only: tuple[Path, ...] = ()
    inputs: tuple[Path, ...] = ()  # of the scratch folder: what it may not write in it


class Child:
    """A running training process. Not reusable."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        scratch: Path,
        environment: Mapping[str, str],
        limits: ChildLimits,
        visible: Visible = Visible(),
    ) -> None:
        self._stderr_path = scratch / "stderr.log"
        with self._stderr_path.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(SANDBOX), _limits_json(limits, command, scratch, visible), *command],
                cwd=scratch,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status (negative: the signal), None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End the whole process group and reap the child. Harmless when it has ended."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def stderr_tail(self) -> str:
        """The end of what the child wrote, for the operator."""
        data = self._stderr_path.read_bytes()[-STDERR_TAIL_BYTES:]
        return data.decode("utf-8", "replace").strip()


def clean_environment(*, scratch: Path, python_path: Sequence[Path], threads: int) -> dict[str, str]:
    """What the child may know: nothing of the worker's own environment, so no credential can leak."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(scratch),
        "USER": "training",
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, python_path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
    }


def describe_exit(status: int) -> str:
    """One clause for a non-zero exit status."""
    if status == -signal.SIGXCPU:
        return "exceeded its CPU time"
    if status == -signal.SIGKILL:
        return "was killed (out of memory, or from outside)"
    if status < 0:
        return f"ended by signal {signal.Signals(-status).name}"
    return f"ended with exit code {status}"


def _limits_json(limits: ChildLimits, command: Sequence[str], scratch: Path, visible: Visible) -> str:
    interpreter = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    scripts = {Path(part) for part in command[1:] if part.startswith("/") and not Path(part).is_relative_to(scratch)}
    shown = interpreter | {path for path in scripts if path.is_file()} | {path.absolute() for path in visible.read_only}
    return json.dumps(
        {
            "cpu": limits.cpu_seconds,
            "as": limits.memory_bytes,
            "fsize": limits.file_bytes,
            "nofile": limits.open_files,
            "nice": limits.nice,
            "processes": limits.processes,
            "isolate": limits.isolate,
            "require_isolation": limits.require,
            "scratch": str(scratch),
            "visible": sorted(map(str, shown)),
            "inputs": [str(path) for path in visible.inputs],
            "parent_pid": os.getpid(),
        }
    )
