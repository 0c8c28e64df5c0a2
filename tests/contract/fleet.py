"""Several node processes against one control plane, and what a load balancer in front of them would do."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from control_plane.fleet.models import Node
from control_plane.fleet.reconciler import reconcile
from control_plane.fleet.registration import create_token
from control_plane.tenants.models import Placement
from tests.control_plane.tenant import MODEL

ROOT = Path(__file__).resolve().parents[2]
SPEECH = "the words of a stream that takes its time " * 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class NodeProcess:
    name: str
    process: subprocess.Popen[bytes]
    url: str
    state: Path

    @property
    def row(self) -> Node:
        return Node.objects.get(name=self.name)

    @property
    def held(self) -> set[str]:
        return set(Placement.objects.unscoped().filter(node=self.row.id).values_list("project_id", flat=True))

    def ask(self, key: str, say: str = "hi", **body: Any) -> httpx.Response:
        content = {"model": "assistant", "messages": [{"role": "user", "content": f"say <{say}>"}], **body}
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{self.url}/v1/chat/completions", json=content, headers=headers, timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@dataclass
class Fleet:
    """Starts nodes; `sweep` is the control plane's beat."""

    control_plane: str
    folder: Path
    nodes: dict[str, NodeProcess] = field(default_factory=dict)

    def start(self, name: str, *flags: str, state: Path | None = None) -> NodeProcess:
        model = self.folder / "model"
        model.mkdir(exist_ok=True)
        (model / "model.safetensors").write_bytes(b"scripted")
        port, state = free_port(), state or self.folder / name
        command = [sys.executable, "-m", "tests.contract.scripted_node", "--model", str(model), "--model-name", MODEL]
        command += ["--port", str(port), "--node-name", name, "--state-dir", str(state)]
        command += ["--control-plane", self.control_plane, "--status-interval-seconds", "0.3", *flags]
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}",
            "SLIPSTREAM_KEY_PEPPER": settings.SLIPSTREAM_KEY_PEPPER,
            "SLIPSTREAM_KEY_PEPPER_ID": settings.SLIPSTREAM_KEY_PEPPER_ID,
            "SLIPSTREAM_NODE_TOKEN": create_token(actor="test")[1],
            "S3_BUCKET": "",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        node = NodeProcess(name, process, f"http://127.0.0.1:{port}", state)
        self.nodes[f"{name} {len(self.nodes)}"] = node
        return node

    def until(self, holds: Callable[[], object], what: str, seconds: float = 90.0) -> float:
        """Sweep until it holds. Returns how long that took, in seconds."""
        started = time.monotonic()
        while not holds():
            assert time.monotonic() - started < seconds, what
            reconcile()
            time.sleep(0.1)
        return time.monotonic() - started

    def until_ready(self, *nodes: NodeProcess) -> None:
        rows = Node.objects.filter(name__in=[node.name for node in nodes])
        self.until(lambda: rows.filter(state="ready").count() == len(nodes), "all nodes are ready")

    def route(self, project_id: str) -> NodeProcess | None:
        """Where a load balancer sends the project's next request: a node that serves it and is not to leave it."""
        placed = Placement.objects.unscoped().filter(project=project_id, leaving_since=None).select_related("node")
        for row in placed:
            node = Node.objects.get(pk=row.node_id)
            if node.serves(row.generation):
                return next((one for one in self.nodes.values() if one.url == node.address), None)
        return None

    def is_settled(self, projects: set[str]) -> bool:
        """Each project has one home, which serves it."""
        rows = list(Placement.objects.unscoped().filter(project__in=projects))
        return len(rows) == len(projects) and all(self.route(project) is not None for project in projects)

    def stop(self) -> None:
        for node in self.nodes.values():
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes.values():
            try:
                node.process.wait(15)
            except subprocess.TimeoutExpired:
                node.kill()


class Stream:
    """One streamed request in a thread of its own; `first` is set with its first token."""

    def __init__(self, node: NodeProcess, key: str) -> None:
        self.first = threading.Event()
        self.text = ""
        self.error = ""
        self.ended_at = 0.0
        self._thread = threading.Thread(target=self._read, args=(node, key), daemon=True)
        self._thread.start()

    def _read(self, node: NodeProcess, key: str) -> None:
        body = {"model": "assistant", "messages": [{"role": "user", "content": f"say <{SPEECH}>"}], "stream": True}
        headers = {"Authorization": f"Bearer {key}", "X-Nonce": secrets.token_hex(4)}
        try:
            url = f"{node.url}/v1/chat/completions"
            with httpx.stream("POST", url, json=body, headers=headers, timeout=30) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: {"):
                        found = json.loads(line[6:])
                        self.error += json.dumps(found["error"]) if "error" in found else ""
                        for choice in found.get("choices", ()):
                            self.text += choice["delta"].get("content") or ""
                    if self.text:
                        self.first.set()
        except httpx.HTTPError as error:
            self.error = repr(error)
        self.ended_at = time.monotonic()

    def end(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
