"""The node's id and credential, in a file that only the node reads.

The node draws its credentials itself and writes them down *before* it tells the control plane, so that a crash or a
lost answer at any point leaves a credential that works:

    {"next": C}                                  told, or about to tell, C with the registration token
    {"node_id", "credential": C, "issued_at"}    registered
    {…, "next": D}                               changing to D: C works on for a while, then only D does
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataplane.sync.control_plane import ControlPlane, ControlPlaneError, NodeIdentity, Registration
from dataplane.sync.snapshot import write_atomically

log = logging.getLogger(__name__)


class IdentityStore:
    """Registers once with a one-time token, then proves itself with its credential and changes that when it is old.

    token: the registration token as it is now; "" when there is none.
    """

    def __init__(
        self,
        path: Path,
        control_plane: ControlPlane,
        registration: Registration,
        *,
        token: Callable[[], str],
        rotate_seconds: float = 86_400.0,
        write: Callable[[Path, bytes], None] = write_atomically,
    ) -> None:
        self._path = path
        self._control_plane = control_plane
        self._registration = registration
        self._token = token
        self._rotate_seconds = rotate_seconds
        self._write = write
        self._lock = threading.Lock()
        self._data = _read(path)

    @property
    def known(self) -> NodeIdentity | None:
        data = self._data
        return NodeIdentity(data["node_id"], data["credential"]) if "credential" in data else None

    def get(self) -> NodeIdentity:
        """The identity, registering first if there is none. Raises ControlPlaneError, OSError."""
        with self._lock:
            if self.known is None:
                self._register()
            assert self.known is not None, "registered"
            return self.known

    def refused(self, identity: NodeIdentity) -> None:
        """The control plane doesn't take this credential: try the one that was to follow, else register again."""
        with self._lock:
            if self.known != identity:
                return
            if "next" in self._data:
                log.warning("the credential was refused; using the one that was to follow")
                self._keep({**self._data, "credential": self._data["next"], "next": None})
            elif self._token():
                self._data = {}

    def rotate(self) -> None:
        """Change a credential that is old, or finish a change. Raises ControlPlaneError, OSError."""
        with self._lock:
            if self.known is None:
                return
            age = time.time() - float(self._data.get("issued_at", 0))
            if "next" not in self._data:
                if age < self._rotate_seconds:
                    return
                self._keep({**self._data, "next": secrets.token_urlsafe(32)})
            fresh = self._data["next"]
            self._control_plane.change_credential(self.known, fresh)
            self._keep({**self._data, "credential": fresh, "issued_at": time.time(), "next": None})
            log.info("the credential was changed")

    def _register(self) -> None:
        if not (token := self._token()):
            raise ControlPlaneError("this node is not registered and has no registration token", permanent=True)
        if "next" not in self._data:
            self._keep({"next": secrets.token_urlsafe(32)})
        identity = self._control_plane.register(self._registration, token=token, credential=self._data["next"])
        self._keep({"node_id": identity.node_id, "credential": identity.credential, "issued_at": time.time()})
        log.info("registered as %s", identity.node_id)

    def _keep(self, data: dict[str, Any]) -> None:
        """On disk first, then in memory. Raises OSError."""
        data = {name: value for name, value in data.items() if value is not None}
        self._write(self._path, json.dumps(data).encode())
        self._data = data


def _read(path: Path) -> dict[str, Any]:
    """What was kept; empty if there is nothing, or nothing that can be used."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict) or not ({"node_id", "credential"} <= data.keys() or "next" in data):
        return {}
    return data
