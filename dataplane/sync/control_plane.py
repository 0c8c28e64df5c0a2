"""The node's side of the internal API: five calls, all of them safe to repeat.

POST /internal/v1/nodes/register       {registration_token, credential, …Registration} -> {node_id, credential}
POST /internal/v1/nodes/{id}/credential {credential} -> {overlap_seconds}
GET  /internal/v1/nodes/{id}/snapshot  If-None-Match: "<generation>" -> 200 Snapshot | 304
POST /internal/v1/nodes/{id}/usage     {events: [SequencedUsage]} -> {acknowledged: {boot_id: seq}}
POST /internal/v1/nodes/{id}/status    NodeStatus -> 2xx
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from dataplane.contracts import ContractError, NodeStatus, SequencedUsage, Snapshot, from_dict, to_dict

_PATH = "/internal/v1/nodes"


class ControlPlaneError(Exception):
    """A call failed. `permanent`: repeating the same call can't help (a refused credential, a bad answer)."""

    def __init__(
        self, message: str, *, permanent: bool = False, status: int | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    node_id: str
    credential: str

    @property
    def authorization(self) -> str:
        return f"Node {self.node_id}:{self.credential}"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a node says of itself. max_projects, adaptive_bytes: its capacity."""

    boot_id: str
    name: str
    engine: str
    model: str
    model_sha256: str
    address: str
    max_projects: int = 1000
    adaptive_bytes: int = 256 << 20


class ControlPlane:
    """HTTP client of the internal API; used from several threads (httpx.Client is safe for that)."""

    def __init__(self, base_url: str, *, timeout_seconds: float = 10.0) -> None:
        self._http = httpx.Client(base_url=base_url.rstrip("/"), timeout=timeout_seconds, trust_env=False)

    def register(self, registration: Registration, *, token: str, credential: str) -> NodeIdentity:
        """The identity under `credential`, which the node has drawn. Repeating it with the same words is safe."""
        sent = to_dict(registration) | {"registration_token": token, "credential": credential}
        body = self._call("POST", f"{_PATH}/register", None, json=sent).json()
        try:
            return NodeIdentity(node_id=str(body["node_id"]), credential=str(body["credential"]))
        except (KeyError, TypeError) as error:
            raise ControlPlaneError(f"registration answered without {error}", permanent=True) from error

    def change_credential(self, identity: NodeIdentity, credential: str) -> None:
        """From now on `credential` is this node's; the one before works on for the control plane's overlap."""
        self._call("POST", f"{_PATH}/{identity.node_id}/credential", identity, json={"credential": credential})

    def snapshot(self, identity: NodeIdentity, generation: int | None) -> Snapshot | None:
        """The desired state, or None when `generation` is still the newest."""
        headers = {} if generation is None else {"If-None-Match": f'"{generation}"'}
        response = self._call("GET", f"{_PATH}/{identity.node_id}/snapshot", identity, headers=headers)
        if response.status_code == 304:
            return None
        try:
            return from_dict(Snapshot, response.json())
        except (ContractError, ValueError) as error:
            raise ControlPlaneError(f"unreadable snapshot: {error}", permanent=True) from error

    def send_usage(self, identity: NodeIdentity, events: Sequence[SequencedUsage]) -> dict[str, int]:
        """Returns the highest contiguous sequence number that is stored, for each boot."""
        response = self._call("POST", f"{_PATH}/{identity.node_id}/usage", identity, json={"events": to_dict(events)})
        try:
            return {str(boot): int(seq) for boot, seq in response.json()["acknowledged"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ControlPlaneError("the answer to usage has no `acknowledged`", permanent=True) from error

    def send_status(self, identity: NodeIdentity, status: NodeStatus) -> None:
        self._call("POST", f"{_PATH}/{identity.node_id}/status", identity, json=to_dict(status))

    def close(self) -> None:
        self._http.close()

    def _call(
        self,
        method: str,
        path: str,
        identity: NodeIdentity | None,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        headers = dict(headers or {})
        if identity is not None:
            headers["Authorization"] = identity.authorization
        try:
            response = self._http.request(method, path, json=json, headers=headers)
        except httpx.HTTPError as error:
            raise ControlPlaneError(f"{method} {path}: {error!r}") from error
        if response.is_success or response.status_code == 304:
            return response
        permanent = 400 <= response.status_code < 500 and response.status_code not in (408, 425, 429)
        message = f"{method} {path}: {response.status_code} {response.text[:200]}"
        raise ControlPlaneError(message, permanent=permanent, status=response.status_code, code=_code(response))


def _code(response: httpx.Response) -> str | None:
    """The problem's code, if the answer is a problem."""
    try:
        code = response.json()["code"]
    except (ValueError, KeyError, TypeError):
        return None
    return code if isinstance(code, str) else None
