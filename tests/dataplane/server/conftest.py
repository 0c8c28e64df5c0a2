"""A whole node's server over a scripted engine, on a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
import uvicorn

from dataplane.contracts import (
    EndpointConfig,
    KeyDigest,
    Limits,
    ProjectConfig,
    Snapshot,
    TrafficPolicy,
    UsageEvent,
)
from dataplane.server.admission import Pepper, RateLimiter
from dataplane.server.app import create_app
from dataplane.server.ledger import Ledger
from dataplane.server.metrics import Metrics
from dataplane.server.serving import ServerLimits, Serving
from dataplane.sync.snapshot import SnapshotStore
from dataplane.sync.status import SpeculationWindows
from dataplane.traffic.segments import TrafficSegments
from dataplane.traffic.spool import UsageSpool
from tests.dataplane.server.fakes import ByteCodec, ScriptedEngine

PEPPER = Pepper("pepper", "1")
NAMES = ("alice", "bob", "expired", "limited", "reading", "narrow", "fenced")
KEYS = {name: f"sls_test_{name:0>12}_{name:x>38}" for name in NAMES}
_PROJECTS = {"expired": "prj_bob", "reading": "prj_bob", "narrow": "prj_bob", "fenced": "prj_alice"}


def snapshot() -> Snapshot:
    """Alice consents and has `assistant`; Bob has `other`; the limited project has limits."""
    projects = [
        ProjectConfig("prj_alice", "org_1", "salt-a", TrafficPolicy(capture=True)),
        ProjectConfig("prj_bob", "org_2", "salt-b"),
        ProjectConfig("prj_limited", "org_3", "salt-c", limits=Limits(2, 1000, 1)),
    ]
    keys = [
        KeyDigest(
            key_id=f"key_{name}",
            project_id=_PROJECTS.get(name, f"prj_{name}"),
            digest=PEPPER.digest(key),
            pepper_id="1",
            expires_at="2020-01-01T00:00:00Z" if name == "expired" else None,
            scopes=("inference:read",) if name == "reading" else ("inference:read", "inference:write"),
            endpoints=("second",) if name == "narrow" else (),
            allowed_ips=("192.0.2.0/24", "2001:db8::/32") if name == "fenced" else (),
        )
        for name, key in KEYS.items()
    ]
    endpoint = EndpointConfig("ep_alice", "prj_alice", "dep_1", "assistant", "model-1", holdout_rate=0.0)
    endpoints = [
        endpoint,
        replace(endpoint, endpoint_id="ep_bob", project_id="prj_bob", name="other", speculation_mode="static"),
        replace(endpoint, endpoint_id="ep_second", project_id="prj_bob", name="second"),
        replace(endpoint, endpoint_id="ep_limited", project_id="prj_limited"),
        replace(endpoint, endpoint_id="ep_off", name="disabled", enabled=False),
    ]
    return Snapshot("node_1", 3, "2026-01-01T00:00:00Z", tuple(projects), tuple(keys), tuple(endpoints))


@dataclass
class Node:
    """A running server and what is behind it."""

    url: str
    engine: ScriptedEngine
    serving: Serving
    folder: Path
    in_loop: Callable[..., object] = field(repr=False)

    def post(self, path: str, body: object, key: str = "alice", **options: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEYS[key]}"}
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, **options)  # type: ignore[arg-type]

    def chat(self, content: str, key: str = "alice", **fields: object) -> httpx.Response:
        body = {"model": "assistant", "messages": [{"role": "user", "content": content}], **fields}
        return self.post("/v1/chat/completions", body, key)

    def stream(self, content: str, **fields: object) -> AbstractContextManager[httpx.Response]:
        """A streamed chat of Alice's, while it comes."""
        body = {"model": "assistant", "messages": [{"role": "user", "content": content}], "stream": True, **fields}
        headers = {"Authorization": f"Bearer {KEYS['alice']}"}
        return httpx.stream("POST", f"{self.url}/v1/chat/completions", json=body, headers=headers)

    def usage(self, num_events: int) -> list[UsageEvent]:
        """All usage events so far; waits until there are `num_events`."""
        self.in_loop(self.serving._settled(5.0))
        events = [entry.event for entry in self.serving.ledger.spool.unacknowledged(1000)]
        assert len(events) == num_events
        return events


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    engine, limiter = ScriptedEngine(), RateLimiter()
    snapshots = SnapshotStore(tmp_path / "snapshot.json")
    snapshots.apply(snapshot())
    segments = TrafficSegments(tmp_path / "traffic", node_id=lambda: "node_1", boot_id="boot")
    spool = UsageSpool(tmp_path / "usage", "boot")
    ledger = Ledger(spool, segments, SpeculationWindows(), limiter, Metrics())
    limits = ServerLimits(max_context=4096, request_timeout_seconds=20.0)
    serving = Serving(engine, ByteCodec(), snapshots, PEPPER, limiter, ledger, limits)
    server = uvicorn.Server(
        uvicorn.Config(create_app(serving), port=0, log_config=None, lifespan="off", proxy_headers=False)
    )
    started = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        config = server.config
        sock = config.bind_socket()
        loops[0].call_soon(started.set)
        addresses.append(sock.getsockname())
        await server.serve([sock])
        sock.close()

    addresses: list[tuple[str, int]] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    yield Node(
        f"http://127.0.0.1:{addresses[0][1]}",
        engine,
        serving,
        tmp_path,
        lambda work: asyncio.run_coroutine_threadsafe(work, loops[0]).result(10),
    )
    server.should_exit = True
    thread.join()
    spool.close()
