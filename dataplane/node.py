"""One node: an engine, the HTTP server in front of it, and the threads that connect it to the control plane.

event loop      HTTP, admission, streaming          (never waits for any of the others)
engine          its own thread
snapshot        every 2 s    GET snapshot -> artifacts -> drafters
status          every 5 s    heartbeat with speculation windows
credential      every minute a fresh one when it is old
usage           every 1 s    spool -> control plane
traffic         queue -> segments on disk
upload          every 2 s    segments -> bucket
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from dataplane.config import ConfigError, NodeConfig
from dataplane.contracts import NodeState, NodeStatus
from dataplane.engines.base import EngineStats
from dataplane.object_store import S3Bucket
from dataplane.server.admission import Pepper, RateLimiter
from dataplane.server.app import create_app
from dataplane.server.engines import LoadedEngine
from dataplane.server.ledger import Ledger
from dataplane.server.metrics import Metrics
from dataplane.server.serving import ServerLimits, Serving
from dataplane.stamps import timestamp
from dataplane.sync.agent import Agent
from dataplane.sync.artifacts import ArtifactRules, ArtifactStore
from dataplane.sync.control_plane import ControlPlane, NodeIdentity, Registration
from dataplane.sync.identity import IdentityStore
from dataplane.sync.loop import start_thread
from dataplane.sync.snapshot import AppliedSnapshot, SnapshotStore
from dataplane.sync.status import SpeculationWindows
from dataplane.traffic.redaction import Redactor
from dataplane.traffic.segments import TrafficSegments
from dataplane.traffic.spool import UsageSpool
from dataplane.traffic.upload import send_traffic, send_usage

log = logging.getLogger(__name__)

# How long the last heartbeat and the last usage may take at shutdown.
_FAREWELL_SECONDS = 3.0


class Node:
    """Everything of one process, wired. `serve` runs until SIGTERM or SIGINT."""

    def __init__(
        self, config: NodeConfig, loaded: LoadedEngine, listener: socket.socket, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._listener = listener
        self._loaded = loaded
        self._say = say
        self._boot_id = uuid.uuid4().hex
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._bucket = S3Bucket(config.object_store) if config.object_store else None
        self._control_plane = ControlPlane(config.control_plane) if config.control_plane else None
        self._model_sha256 = model_digest(config.model)
        state = config.state_dir
        self._snapshots = SnapshotStore(state / "snapshot.json")
        self._identity: IdentityStore | None = None
        if self._control_plane is not None:
            registration = Registration(
                boot_id=self._boot_id,
                name=config.node_name,
                engine=config.engine,
                model=config.model_name,
                model_sha256=self._model_sha256,
                address=config.address,
                max_projects=config.max_projects,
                adaptive_bytes=config.adaptive_mib << 20,
            )
            self._identity = IdentityStore(
                state / "identity.json",
                self._control_plane,
                registration,
                token=config.registration_token,
                rotate_seconds=config.credential_seconds,
            )
        self._segments = TrafficSegments(
            state / "traffic",
            node_id=lambda: self._node_id,
            boot_id=self._boot_id,
            redact=Redactor(loaded.codec),
            is_leaving=self._is_leaving,
            roll_seconds=config.traffic_roll_seconds,
            roll_bytes=config.traffic_roll_bytes,
            cap_bytes=config.traffic_cap_bytes,
        )
        self._windows = SpeculationWindows()
        limiter = RateLimiter()
        self._spool = UsageSpool(state / "usage", self._boot_id)
        self._serving = Serving(
            engine=loaded.engine,
            codec=loaded.codec,
            snapshots=self._snapshots,
            pepper=Pepper(config.key_pepper, config.key_pepper_id),
            limiter=limiter,
            is_engine_alive=loaded.is_alive,
            ledger=Ledger(self._spool, self._segments, self._windows, limiter, Metrics()),
            limits=ServerLimits(
                max_context=loaded.max_context,
                max_body_bytes=config.max_body_bytes,
                max_waiting=config.max_waiting,
                request_timeout_seconds=config.request_timeout_seconds,
                metrics_token=config.metrics_token,
                trusted_proxies=config.trusted_proxies,
            ),
        )
        self._agent = self._make_agent(state)

    async def serve(self) -> bool:
        """Listen, follow the control plane, and on SIGTERM or SIGINT drain and leave. False: the engine died."""
        self._read_snapshot()
        server = _Server(
            uvicorn.Config(
                create_app(self._serving),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # who the client is, is decided by `contracts.client_address` alone
                timeout_keep_alive=30,
                timeout_graceful_shutdown=2,
            )
        )
        asked_to_stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked_to_stop.set)
        self._start_threads()
        serving = asyncio.create_task(server.serve([self._listener]))
        announcing = asyncio.create_task(self._announce(server))
        while self._loaded.is_alive() and not asked_to_stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(asked_to_stop.wait(), timeout=0.5)
        announcing.cancel()
        if asked_to_stop.is_set():
            self._say("draining")
            await self._serving.drain(self._config.grace_seconds)
        else:
            self._say("the engine has died")
            await self._serving.abandon()
        server.should_exit = True
        await serving
        await asyncio.to_thread(self._leave)
        self._say("stopped")
        return asked_to_stop.is_set()

    # ------------------------------------------------------------------------------------------------------- parts

    def _make_agent(self, state: Path) -> Agent | None:
        if self._control_plane is None or self._identity is None:
            return None
        rules = ArtifactRules(
            public_keys=self._config.signing_public_keys,
            static_sha256=file_digest(self._config.static / "model.safetensors") if self._config.static else None,
        )
        return Agent(
            control_plane=self._control_plane,
            identity=self._identity,
            snapshots=self._snapshots,
            artifacts=ArtifactStore(state / "artifacts", self._bucket, rules),
            refresh=self._loaded.refresh,
            forget=self._forget,
            fence=self._fence,
            windows=self._windows,
            last_good=state / "artifacts" / "last_good.json",
        )

    def _start_threads(self) -> None:
        config = self._config
        writer = threading.Thread(target=self._segments.run, args=(self._stop,), name="traffic", daemon=True)
        writer.start()
        self._threads.append(writer)
        if (agent := self._agent) is None:
            return
        assert self._identity is not None, "an agent has an identity"
        actions: list[tuple[str, Callable[[], object], float]] = [
            ("snapshot", agent.follow, config.snapshot_interval_seconds),
            ("status", lambda: agent.report(self._status), config.status_interval_seconds),
            ("usage", self._send_usage, config.usage_interval_seconds),
            ("credential", self._identity.rotate, min(60.0, config.credential_seconds)),
        ]
        if (bucket := self._bucket) is not None:
            actions.append(("upload", lambda: send_traffic(self._segments, bucket, consents=self._consents), 2.0))
        for name, action, interval in actions:
            self._threads.append(start_thread(name, action, interval_seconds=interval, stop=self._stop))

    def _leave(self) -> None:
        """Stop the threads, say goodbye, close everything. What can't be sent now is sent by the next boot."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=_FAREWELL_SECONDS)
        if (agent := self._agent) is not None:
            for farewell in (self._send_usage, lambda: agent.report(self._status)):
                try:
                    farewell()
                except Exception as error:
                    log.warning("at shutdown: %s", error)
        if self._control_plane is not None:
            self._control_plane.close()
        if self._bucket is not None:
            self._bucket.close()
        self._spool.close()
        self._loaded.stop()

    def _read_snapshot(self) -> None:
        source = self._config.snapshot
        if source is not None and not self._snapshots.load(source):
            raise ConfigError(f"--snapshot {source} is not a readable snapshot")
        if source is None and self._snapshots.load():
            assert self._snapshots.current is not None, "just loaded"
            self._say(f"snapshot generation {self._snapshots.current.generation} restored from disk")
        if (current := self._snapshots.current) is not None:  # a crash may have kept `_forget` from being done
            self._loaded.keep_memories([key for key, project in current.projects.items() if project.traffic.capture])

    async def _announce(self, server: uvicorn.Server) -> None:
        while not server.started:
            await asyncio.sleep(0.02)
        host, port = self._listener.getsockname()[:2]
        self._say(f"listening on http://{host}:{port}")
        while (current := self._snapshots.current) is None:
            await asyncio.sleep(0.05)
        self._say(f"ready: snapshot generation {current.generation}")

    # ----------------------------------------------------------------------------------------------------- actions

    @property
    def _node_id(self) -> str:
        known = self._identity.known if self._identity else None
        return known.node_id if known else "unregistered"

    def _send_usage(self) -> int:
        assert self._agent is not None and self._control_plane is not None, "only nodes with a control plane send"
        control_plane = self._control_plane
        return self._agent.with_identity(lambda identity: send_usage(self._spool, control_plane, identity))

    def _status(self, identity: NodeIdentity) -> NodeStatus:
        current = self._snapshots.current
        gauges = self._loaded.engine.stats()
        return NodeStatus(
            node_id=identity.node_id,
            boot_id=self._boot_id,
            state=self._state(current, gauges),
            applied_generation=current.generation if current is not None else 0,
            engine=self._config.engine,
            model=self._config.model_name,
            model_sha256=self._model_sha256,
            reported_at=timestamp(),
            running_requests=gauges.running,
            waiting_requests=gauges.waiting,
            slots=gauges.num_slots,
            in_flight=self._serving.limiter.in_flight(),
            usage_spooled=self._spool.size(),
            traffic_dropped=self._segments.num_dropped,
            admits=not self._serving.is_draining,
        )

    def _state(self, current: AppliedSnapshot | None, gauges: EngineStats) -> NodeState:
        """drained: nothing is placed here any more, nothing runs, and everything that happened here was sent."""
        if self._stop.is_set():
            return "drained"
        if current is None:
            return "not_ready"
        if self._serving.is_draining:
            return "draining"
        if not current.snapshot.draining:
            return "ready"
        is_empty = not current.projects and not gauges.running and not gauges.waiting and not self._serving.num_running
        is_sent = not self._spool.size() and not self._segments.num_unsent
        return "drained" if is_empty and is_sent else "draining"

    def _fence(self, is_fenced: bool) -> None:
        if is_fenced != self._serving.is_fenced:
            log.warning("fenced: this node may not serve" if is_fenced else "not fenced any more")
        self._serving.is_fenced = is_fenced

    def _is_leaving(self, project_id: str) -> bool:
        current = self._snapshots.current
        project = current.projects.get(project_id) if current is not None else None
        return project is not None and project.leaving

    def _consents(self, project_id: str) -> bool:
        """As far as this node knows; a crash may have kept `_forget` from being done."""
        current = self._snapshots.current
        project = current.projects.get(project_id) if current is not None else None
        return current is None or (project is not None and project.traffic.capture)

    def _forget(self, project_id: str) -> None:
        self._loaded.forget(project_id)
        self._segments.discard(project_id)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the node drains before it lets the server exit."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(config: NodeConfig) -> socket.socket:
    """The node's address, taken before anything slow is done. Raises ConfigError when it is in use."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"can't listen on {config.host} port {config.port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


@contextmanager
def exclusive_state(state_dir: Path) -> Iterator[None]:
    """The state folder belongs to one process. Raises ConfigError when another one has it."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another node runs on the state folder {state_dir}") from None
        yield


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(folder: Path) -> str:
    """One digest for all weights of a model folder: of the only file, or over the files' digests in name order."""
    digests = [file_digest(path) for path in sorted(folder.glob("*.safetensors"))]
    if not digests:
        raise ConfigError(f"{folder} has no safetensors weights")
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
