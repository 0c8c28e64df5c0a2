"""The node's desired state: the snapshot in force, indexed for the request path, and its copy on disk.

Readers take `SnapshotStore.current` once per request and work on that immutable value; a new snapshot replaces the
reference, never the value.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from dataplane.contracts import ContractError, EndpointConfig, KeyDigest, ProjectConfig, Snapshot, from_dict, to_dict


@dataclass(frozen=True, slots=True)
class AppliedSnapshot:
    """A snapshot with the indexes that a request needs."""

    snapshot: Snapshot
    projects: dict[str, ProjectConfig]  # by project id
    keys: dict[str, KeyDigest]  # by digest
    endpoints: dict[tuple[str, str], EndpointConfig]  # by (project id, name); enabled ones only

    @classmethod
    def of(cls, snapshot: Snapshot) -> AppliedSnapshot:
        projects = {project.project_id: project for project in snapshot.projects}
        return cls(
            snapshot,
            projects,
            {key.digest: key for key in snapshot.keys if key.project_id in projects},
            {
                (endpoint.project_id, endpoint.name): endpoint
                for endpoint in snapshot.endpoints
                if endpoint.enabled and endpoint.project_id in projects
            },
        )

    @property
    def generation(self) -> int:
        return self.snapshot.generation

    def endpoints_of(self, project_id: str) -> list[EndpointConfig]:
        return [endpoint for endpoint in self.endpoints.values() if endpoint.project_id == project_id]


class SnapshotStore:
    """Holds the snapshot in force and keeps it across restarts of the node."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._current: AppliedSnapshot | None = None

    @property
    def current(self) -> AppliedSnapshot | None:
        """None until a snapshot was applied: the node is not ready."""
        return self._current

    def load(self, path: Path | None = None) -> bool:
        """Apply the snapshot from disk (or from `path`). False: there is none, or it is unreadable."""
        try:
            data = json.loads((path or self._path).read_bytes())
            self._current = AppliedSnapshot.of(from_dict(Snapshot, data))
        except (FileNotFoundError, ContractError, ValueError):
            return False
        return True

    def apply(self, snapshot: Snapshot) -> bool:
        """Put `snapshot` in force, first on disk. False: it is not newer than the current one."""
        current = self._current
        is_same_node = current is not None and current.snapshot.node_id == snapshot.node_id
        if current is not None and is_same_node and snapshot.generation <= current.generation:
            return False
        write_atomically(self._path, json.dumps(to_dict(snapshot)).encode())
        self._current = AppliedSnapshot.of(snapshot)
        return True


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `data`: a reader, or a restart after a crash, sees the old bytes or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
