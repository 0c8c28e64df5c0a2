"""The node's agent: follows the snapshot, loads what it asks for, and reports.

Every method is one action of a loop and safe to repeat; the request path never waits for any of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from dataplane.contracts import EndpointConfig, LoadedVersion, NodeStatus, ProjectConfig, SpeculatorRef
from dataplane.object_store import ObjectStoreError
from dataplane.sync.artifacts import ArtifactRefused, ArtifactStore
from dataplane.sync.control_plane import ControlPlane, ControlPlaneError, NodeIdentity
from dataplane.sync.identity import IdentityStore
from dataplane.sync.snapshot import AppliedSnapshot, SnapshotStore, write_atomically
from dataplane.sync.status import SpeculationWindows

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """What a deployment should run. `path` None: it could not be brought to this node; what it has now stays."""

    project_id: str
    speculator_version_id: str
    path: Path | None
    endpoint_id: str = ""


# Loads the wanted versions, by deployment, off the hot path and says what is loaded and what was refused.
Refresh = Callable[[Mapping[str, WantedVersion]], list[LoadedVersion]]


class Agent:
    """Follows the control plane. `forget` drops what was learned from a project that no longer consents.

    `fence` is told whether this process may still serve: not when another boot has taken over the node, or when an
    operator has revoked its credential.
    """

    def __init__(
        self,
        *,
        control_plane: ControlPlane,
        identity: IdentityStore,
        snapshots: SnapshotStore,
        artifacts: ArtifactStore,
        refresh: Refresh,
        forget: Callable[[str], None],
        fence: Callable[[bool], None],
        windows: SpeculationWindows,
        last_good: Path,
    ) -> None:
        self._control_plane = control_plane
        self._identity = identity
        self._snapshots = snapshots
        self._artifacts = artifacts
        self._refresh = refresh
        self._forget = forget
        self._fence = fence
        self._windows = windows
        self._last_good = last_good
        self._paths: dict[tuple[str, str], Path] = {}  # (endpoint, version) -> verified file
        self._refused: dict[tuple[str, str], str] = {}  # (endpoint, version) -> reason, for good
        self._wanted: dict[str, WantedVersion] | None = None
        self._is_resumed = False
        self.loaded: tuple[LoadedVersion, ...] = ()

    def with_identity(self, call: Callable[[NodeIdentity], T]) -> T:
        """Run `call` as this node; a refused credential leads to a new registration next time."""
        identity = self._identity.get()
        try:
            return call(identity)
        except ControlPlaneError as error:
            if error.code in ("fenced", "credential_revoked"):
                self._fence(True)
            if error.status in (401, 403):
                self._identity.refused(identity)
            raise

    def follow(self) -> None:
        """Poll the snapshot, put a newer one in force, and bring what it wants to this node."""
        if not self._is_resumed:  # before any network: what is on this node's disk serves at once
            self._is_resumed = True
            self.restore()
            self.reconcile()
        try:
            self._poll()
        finally:
            self.reconcile()

    def _poll(self) -> None:
        current = self._snapshots.current
        known = self._identity.known
        has_own = current is not None and known is not None and current.snapshot.node_id == known.node_id
        generation = current.generation if current is not None and has_own else None
        snapshot = self.with_identity(lambda identity: self._control_plane.snapshot(identity, generation))
        if snapshot is not None and self._snapshots.apply(snapshot):
            log.info("snapshot generation %d is in force", snapshot.generation)
            applied = self._snapshots.current
            assert applied is not None, "a snapshot was just applied"
            self._forget_withdrawn(current, applied)

    def restore(self) -> None:
        """After a restart: load what was last good, so that a refused newer version has something to fall back on."""
        try:
            data = json.loads(self._last_good.read_bytes())
            wanted = {
                deployment: WantedVersion(
                    str(item["project_id"]), str(item["version"]), Path(item["path"]), str(item.get("endpoint", ""))
                )
                for deployment, item in data.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        self._refresh(wanted)

    def reconcile(self) -> None:
        """Bring the wanted versions to this node's disk and hand them to the drafters; cheap when nothing changed."""
        current = self._snapshots.current
        if current is None:
            return
        reasons: dict[str, str] = {}
        wanted: dict[str, WantedVersion] = {}
        for endpoint, deployment_id, ref in _adaptive(current):
            path, reason = self._bring(endpoint, ref)
            wanted[deployment_id] = WantedVersion(
                endpoint.project_id, ref.speculator_version_id, path, endpoint.endpoint_id
            )
            if reason:
                reasons[deployment_id] = reason
        # A download that failed is tried again with every poll; a refusal is for good.
        is_complete = all(
            (want.endpoint_id, want.speculator_version_id) in self._refused
            for want in wanted.values()
            if want.path is None
        )
        if wanted == self._wanted and is_complete:
            return
        loaded = self._refresh(wanted)
        self.loaded = tuple(
            replace(item, reason=reasons[item.deployment_id])
            if item.state == "refused" and item.deployment_id in reasons
            else item
            for item in loaded
        )
        if wanted != self._wanted:
            self._wanted = wanted
            self._remember_good(wanted)
            for item in self.loaded:
                log.info(
                    "deployment %s: %s %s %s", item.deployment_id, item.speculator_version_id, item.state, item.reason
                )

    def report(self, status: Callable[[NodeIdentity], NodeStatus]) -> None:
        """Send the heartbeat with the windows since the last one that arrived."""
        windows = self._windows.take()
        try:
            self.with_identity(
                lambda identity: self._control_plane.send_status(
                    identity, replace(status(identity), windows=windows, loaded=self.loaded)
                )
            )
        except ControlPlaneError:
            self._windows.restore(windows)
            raise
        self._fence(False)

    def _bring(self, endpoint: EndpointConfig, ref: SpeculatorRef) -> tuple[Path | None, str]:
        key = (endpoint.endpoint_id, ref.speculator_version_id)
        if key in self._refused:
            return None, self._refused[key]
        if key not in self._paths or not self._paths[key].exists():
            try:
                self._paths[key] = self._artifacts.fetch(endpoint, ref)
            except ArtifactRefused as error:
                log.warning("refused speculator version %s: %s", ref.speculator_version_id, error)
                self._refused[key] = str(error)
                return None, str(error)
            except ObjectStoreError as error:
                return None, f"not downloaded yet: {error}"
        return self._paths[key], ""

    def _remember_good(self, wanted: Mapping[str, WantedVersion]) -> None:
        good = {
            item.deployment_id: {
                "project_id": want.project_id,
                "version": want.speculator_version_id,
                "path": want.path,
                "endpoint": want.endpoint_id,
            }
            for item in self.loaded
            if item.state == "loaded"
            and (want := wanted.get(item.deployment_id)) is not None
            and want.path is not None
            and want.speculator_version_id == item.speculator_version_id
        }
        if good:
            write_atomically(self._last_good, json.dumps(good, default=str).encode())

    def _forget_withdrawn(self, before: AppliedSnapshot | None, now: AppliedSnapshot) -> None:
        """Projects that are gone, had their traffic deleted (a new cache salt), or must be forgotten otherwise."""
        if before is None:
            return
        for project_id, project in before.projects.items():
            after = now.projects.get(project_id)
            erased = after is None or after.cache_salt != project.cache_salt
            if erased or _is_to_be_forgotten(project, now.projects[project_id]):
                self._forget(project_id)
            if erased:
                self._artifacts.forget(project_id)
                own = {item.endpoint_id for item in before.endpoints.values() if item.project_id == project_id}
                self._paths = {key: path for key, path in self._paths.items() if key[0] not in own}


def _is_to_be_forgotten(before: ProjectConfig, after: ProjectConfig) -> bool:
    """The consent is withdrawn, an end user's traffic was deleted, or people no longer share a memory.

    A memory can't tell whom it learned from, so the whole project's goes, with what was not sent yet.
    """
    return (
        (before.traffic.capture and not after.traffic.capture)
        or before.end_user_erasures != after.end_user_erasures
        or before.traffic.memory_scope != after.traffic.memory_scope
    )


def _adaptive(applied: AppliedSnapshot) -> Iterator[tuple[EndpointConfig, str, SpeculatorRef]]:
    """Every deployment that should run a speculator version: its endpoint, its id and the version."""
    for endpoint in applied.endpoints.values():
        if not endpoint.deployments:
            if endpoint.speculator is not None and endpoint.speculation_mode == "adaptive":
                yield endpoint, endpoint.deployment_id, endpoint.speculator
        for deployment in endpoint.deployments:
            if deployment.speculator is not None and deployment.speculation_mode == "adaptive":
                yield endpoint, deployment.deployment_id, deployment.speculator
