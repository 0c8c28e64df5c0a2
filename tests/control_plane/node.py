"""A node as the control plane sees it: what it sends, over HTTP, with the values of `dataplane.contracts`."""

from __future__ import annotations

import dataclasses
from typing import Any

from control_plane.fleet.registration import create_token
from dataplane import contracts
from tests.control_plane.tenant import MODEL, Api, Tenant

BASE = "/internal/v1/nodes"


class FakeNode:
    """Registers itself; `boot_id` may be changed to simulate a restart."""

    def __init__(self, name: str = "node-1", boot_id: str = "boot-1", model: str = MODEL) -> None:
        self.name, self.boot_id, self.model = name, boot_id, model
        answer = register(name=name, boot_id=boot_id, model=model)
        assert answer.status_code == 201, answer.content
        self.id = answer.json()["node_id"]
        self.credential = answer.json()["credential"]
        self.api = Api(authorization=f"Node {self.id}:{self.credential}")

    def snapshot(self, **headers: str) -> Any:
        return self.api.get(f"{BASE}/{self.id}/snapshot", **headers)

    def read_snapshot(self) -> contracts.Snapshot:
        return contracts.from_dict(contracts.Snapshot, self.snapshot().json())

    def send_usage(self, events: list[contracts.SequencedUsage]) -> Any:
        return self.api.post(f"{BASE}/{self.id}/usage", {"events": contracts.to_dict(events)})

    def heartbeat(self, *, applied: int | None = None, state: str = "ready", **changes: Any) -> Any:
        """Report, by default having applied the current generation."""
        generation = self.read_snapshot().generation if applied is None else applied
        status = contracts.NodeStatus(
            node_id=self.id,
            boot_id=self.boot_id,
            state=state,  # type: ignore[arg-type]
            applied_generation=generation,
            engine="embedded",
            model=self.model,
            model_sha256="0" * 64,
            reported_at="2026-01-01T00:00:00Z",
        )
        return self.api.post(f"{BASE}/{self.id}/status", contracts.to_dict(dataclasses.replace(status, **changes)))


def register(token: str | None = None, **changes: Any) -> Any:
    """By default with a token of its own."""
    body = {
        "registration_token": create_token(actor="test")[1] if token is None else token,
        "boot_id": "boot-1",
        "name": "node-1",
        "engine": "embedded",
        "model": MODEL,
        "model_sha256": "0" * 64,
        "address": "http://127.0.0.1:8100",
    }
    return Api().post(f"{BASE}/register", body | changes)


def usage_event(tenant: Tenant, number: int, **changes: Any) -> contracts.UsageEvent:
    event = contracts.UsageEvent(
        event_id=f"evt_{number:026d}",
        organization_id=tenant.organization.id,
        project_id=tenant.project.id,
        endpoint_id=tenant.endpoint.id,
        deployment_id="dep_1",
        key_id=tenant.api_key.id,
        model=MODEL,
        status="completed",
        started_at="2026-03-05T10:00:00Z",
        finished_at="2026-03-05T10:00:01.250Z",
        prompt_tokens=100 + number,
        cached_tokens=10,
        completion_tokens=50 + number,
        steps=20,
        drafted=60,
        accepted=30,
        speculation_mode="adaptive",
    )
    return dataclasses.replace(event, **changes)


def sequenced(events: list[contracts.UsageEvent], boot_id: str = "boot-1", start: int = 1) -> list[Any]:
    return [contracts.SequencedUsage(boot_id, start + index, event) for index, event in enumerate(events)]
