"""A peer in a process of its own, asked through pipes; implements `base.Peer`."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.bench.peers.base import PeerError, PeerKind, PeerRun

_REQUEST_SECONDS = 300.0


class PeerProcess:
    """Starts `python PROGRAM SETTINGS`; returns once the peer is ready. Raises PeerError with the peer's reason."""

    def __init__(
        self,
        kind: PeerKind,
        python: Path,
        settings: Mapping[str, Any],
        *,
        log: Path,
        program: Path | None = None,
    ) -> None:
        self.name = kind.name
        log.parent.mkdir(parents=True, exist_ok=True)
        script = program or Path(__file__).with_name(kind.program)
        environment = os.environ | dict(kind.environment) | {"PYTHONPATH": str(Path(__file__).parent)}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [str(python), str(script), json.dumps(dict(settings) | {"modes": list(kind.modes)})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment,
                start_new_session=True,
            )
        self._log = log
        self._buffer = b""
        try:
            hello = self._answer(kind.start_seconds)
        except BaseException:
            self.close()
            raise
        self.version: str = hello["version"]
        self.modes: Sequence[str] = [mode for mode in hello["modes"] if mode in kind.modes]
        self.failed: dict[str, str] = hello["failed"]

    def generate(self, mode: str, prompt: Sequence[int], max_tokens: int) -> PeerRun:
        assert self._process.stdin is not None
        line = json.dumps({"mode": mode, "prompt": list(prompt), "max_tokens": max_tokens}) + "\n"
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise PeerError(f"{self.name} has gone ({self._log})") from error
        run = self._answer(_REQUEST_SECONDS)
        return PeerRun(tuple(run["tokens"]), run["prefill_seconds"], run["decode_seconds"])

    def close(self) -> None:
        """End the process and what it has started."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line. Raises PeerError if it is an error, or does not come."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise PeerError(f"{self.name} did not answer within {seconds:.0f} s ({self._log})")
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part:
                    raise PeerError(f"{self.name} ended: {_last_line(self._log)} ({self._log})")
                self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer


def open_peers(
    kinds: Sequence[PeerKind],
    python_of: Callable[[PeerKind], Path],
    settings: Mapping[str, Any],
    folder: Path,
    report: Callable[[str], None],
) -> tuple[list[PeerProcess], dict[str, str]]:
    """The peers that start, and the reason for every peer (or mode of one) that does not."""
    peers, reasons = [], {}
    for kind in kinds:
        try:
            report(f"{kind.title}: starting")
            peer = PeerProcess(kind, python_of(kind), settings, log=folder / f"{kind.name}.log")
        except PeerError as error:
            reasons[kind.name] = str(error)
            report(f"{kind.title}: not available: {error}")
            continue
        peers.append(peer)
        reasons |= {f"{kind.name} {mode}": reason for mode, reason in peer.failed.items()}
        report(f"{kind.title} {peer.version}: {', '.join(peer.modes)}")
    return peers, reasons


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "without a word"
