"""What the request handlers share: the parts of a running node, its limits, and the requests that it runs now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dataplane.contracts import StreamCoalescing
from dataplane.engines.base import Engine, GenerationRequest
from dataplane.errors import Unavailable
from dataplane.server.admission import Pepper, RateLimiter
from dataplane.server.generation import Generation
from dataplane.server.ledger import Admitted, Ledger
from dataplane.server.text import Codec
from dataplane.sync.snapshot import AppliedSnapshot, SnapshotStore


@dataclass(frozen=True, slots=True)
class ServerLimits:
    max_context: int
    max_body_bytes: int = 1 << 20
    max_waiting: int = 256
    request_timeout_seconds: float = 600.0
    metrics_token: str = field(default="", repr=False)
    trusted_proxies: int = 0  # that append to X-Forwarded-For; 0 believes the peer's address alone


@dataclass(slots=True)
class Serving:
    """A node that serves. `is_draining` (it shuts down) and `is_fenced` (it may not serve) close admission."""

    engine: Engine
    codec: Codec
    snapshots: SnapshotStore
    pepper: Pepper
    limiter: RateLimiter
    ledger: Ledger
    limits: ServerLimits
    is_draining: bool = False
    is_fenced: bool = False
    is_engine_alive: Callable[[], bool] = lambda: True
    _running: set[Generation] = field(default_factory=set)

    def snapshot(self) -> AppliedSnapshot:
        """The snapshot in force. Raises Unavailable while there is none, or the node shuts down or may not serve."""
        snapshot = self.snapshots.current
        if self.is_draining or self.is_fenced:
            reason = "is shutting down" if self.is_draining else "is out of service"
            raise Unavailable(f"This node {reason}.", retry_after=2.0)
        if snapshot is None:
            raise Unavailable("This node has no configuration yet.", retry_after=2.0)
        return snapshot

    @property
    def unready_because(self) -> str:
        """Why a load balancer should send nothing new here; empty when it should.

        A node that gives its projects away still serves whoever comes, until they are served elsewhere.
        """
        current = self.snapshots.current
        if self.is_fenced:
            return "fenced"
        if self.is_draining or (current is not None and current.snapshot.draining):
            return "draining"
        return "no snapshot has been applied" if current is None else ""

    def start(
        self,
        admitted: Admitted,
        requests: Sequence[GenerationRequest],
        *,
        num_choices: int,
        stop: Sequence[str],
        coalescing: StreamCoalescing,
    ) -> Generation:
        """Run an admitted request. From here on its settlement is certain."""
        generation = Generation(
            requests,
            num_choices=num_choices,
            engine=self.engine,
            codec=self.codec,
            stop=stop,
            settle=lambda outcome: self.ledger.settle(self._as_consented(admitted), outcome),
            timeout_seconds=self.limits.request_timeout_seconds,
            coalescing=coalescing,
        )
        self._running.add(generation)
        generation.task.add_done_callback(lambda _: self._running.discard(generation))
        return generation

    def _as_consented(self, admitted: Admitted) -> Admitted:
        """A consent that went away, or an erasure, while the request ran: its content is not kept."""
        project, current = admitted.caller.project, self.snapshots.current
        now = current.projects.get(project.project_id) if current is not None else None
        consents = (
            now is not None
            and now.traffic.capture
            and now.cache_salt == project.cache_salt
            and now.end_user_erasures == project.end_user_erasures
        )
        return replace(admitted, is_captured=admitted.is_captured and consents)

    @property
    def num_running(self) -> int:
        return len(self._running)

    async def drain(self, grace_seconds: float) -> None:
        """Admit nothing more, let running requests finish, then end those that don't. All are settled afterwards."""
        self.is_draining = True
        await self._settled(grace_seconds)
        for generation in list(self._running):
            generation.end_early("client_cancelled")
        await self._settled(None)

    async def abandon(self) -> None:
        """The engine is gone: everything that runs ends as its error, and is settled."""
        self.is_draining = True
        for generation in list(self._running):
            generation.end_early("engine_error")
        await self._settled(None)

    async def _settled(self, timeout_seconds: float | None) -> None:
        tasks = [generation.task for generation in self._running]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)
