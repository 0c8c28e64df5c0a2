"""The trained deltas of this node's deployments: loaded off the hot path, swapped at a step boundary, bounded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from dataplane.contracts import LoadedVersion

log = logging.getLogger(__name__)


class Delta(Protocol):
    """A tenant's trained delta, loaded and validated."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def memory(self) -> tuple[tuple[int, ...], ...]: ...  # token sequences that warm the tenant memory; may be empty


@dataclass(frozen=True, slots=True)
class Desired:
    """What a deployment should run. `path` None: the artifact is not on this node's disk (yet)."""

    project_id: str
    speculator_version_id: str
    path: Path | None
    endpoint_id: str = ""  # whose deployment it is, for the report


@dataclass(slots=True)
class DeltaRegistry:
    """Trained deltas by deployment. `refresh` runs in the sync thread, `swap_if_ready` at the engine's step boundary.

    The deployments that drafted last are resident, as many as `max_bytes` holds; the others draft statically until a
    `refresh` after their next request. Deployments of a project that run the same version share one delta.
    """

    load: Callable[[Path], Delta]
    max_bytes: int = 512 << 20
    _running: dict[str, tuple[Desired, Delta]] = field(default_factory=dict)  # by deployment
    _next: dict[str, tuple[Desired, Delta]] | None = None
    _refused: dict[tuple[str, str], str] = field(default_factory=dict)  # (deployment, version) -> reason
    _used: dict[str, int] = field(default_factory=dict)  # deployment -> when it drafted last, counted in look-ups
    _lookups: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        """Load what is new, keep the old one where that fails, and hand over to `swap_if_ready`.

        Returns what is resident ("loaded") and what was refused, with the reason.
        """
        with self._lock:
            held = dict(self._running if self._next is None else self._next)
        shared = {_identity(want): delta for want, delta in held.values()}
        chosen: dict[str, tuple[Desired, Delta]] = {}
        paid: set[tuple[str, str]] = set()  # versions whose bytes are counted already
        report: list[LoadedVersion] = []
        room = self.max_bytes
        for deployment_id in desired:
            self._used.setdefault(deployment_id, self._lookups)  # to arrive counts as a use
        for deployment_id in sorted(desired, key=lambda deployment_id: -self._used[deployment_id]):
            want, entry = desired[deployment_id], held.get(deployment_id)
            if entry is None or entry[0].speculator_version_id != want.speculator_version_id:
                loaded, reason = shared.get(_identity(want)), ""
                if loaded is None:
                    if want.path is not None and want.path.exists() and want.path.stat().st_size > room:
                        continue  # no room beside those that drafted later
                    loaded, reason = self._load(deployment_id, want)
                if loaded is None:
                    report.append(_reported(deployment_id, want, want.speculator_version_id, "refused", reason))
                else:
                    entry = (want, loaded)
                    shared[_identity(want)] = loaded
            if entry is None:
                continue
            cost = 0 if _identity(entry[0]) in paid else entry[1].size_bytes
            if cost <= room:
                chosen[deployment_id] = entry
                room -= cost
                paid.add(_identity(entry[0]))
                report.append(_reported(deployment_id, want, entry[0].speculator_version_id, "loaded"))
        with self._lock:
            self._next = chosen
        return report

    def swap_if_ready(self) -> None:
        """Take over what `refresh` prepared."""
        if self._next is not None:
            with self._lock:
                self._running, self._next = self._next, None

    def fresh(self) -> list[tuple[Desired, Delta]]:
        """What the next `swap_if_ready` brings that does not run yet."""
        with self._lock:
            return [
                entry
                for deployment_id, entry in (self._next or {}).items()
                if self._running.get(deployment_id) is not entry
            ]

    def of(self, deployment_id: str) -> Delta | None:
        """The deployment's delta, if it is resident; counts as a use."""
        self._lookups += 1
        self._used[deployment_id] = self._lookups
        held = self._running.get(deployment_id)
        return held[1] if held else None

    def version_of(self, deployment_id: str) -> str | None:
        """The speculator version that drafts for the deployment now."""
        held = self._running.get(deployment_id)
        return held[0].speculator_version_id if held else None

    def _load(self, deployment_id: str, want: Desired) -> tuple[Delta | None, str]:
        key = (deployment_id, want.speculator_version_id)
        if want.path is None or not want.path.exists():
            return None, "the artifact is not on this node"
        if key not in self._refused:  # an artifact is immutable: once refused, always refused
            try:
                return self.load(want.path), ""
            except Exception as error:  # whatever a hostile file makes the loader raise
                log.warning("refused speculator version %s: %s", want.speculator_version_id, error)
                self._refused[key] = str(error) or type(error).__name__
        return None, self._refused[key]


def _identity(want: Desired) -> tuple[str, str]:
    """Versions are immutable, and no project ever gets another's delta."""
    return want.project_id, want.speculator_version_id


def _reported(
    deployment_id: str, want: Desired, version: str, state: Literal["loaded", "refused"], reason: str = ""
) -> LoadedVersion:
    return LoadedVersion(want.endpoint_id, version, state, reason, deployment_id)
