"""What nodes ask of the control plane: the snapshot, the poll, a batch of usage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from infra.bench.management.timing import HOST, Measured, timed

MODEL = "bench-0"


def register() -> tuple[str, Any]:
    """A ready node that holds a fiftieth of the projects: its id, and a client with its credential."""
    from django.test import Client
    from django.utils import timezone

    from control_plane.fleet import placement
    from control_plane.fleet.registration import create_token

    body = {
        "registration_token": create_token(actor="bench")[1],
        "boot_id": "bench",
        "name": f"bench-{time.time_ns()}",  # the one of a run just before may count as alive
        "engine": "embedded",
        "model": MODEL,
    }
    answer = Client(**HOST).post("/internal/v1/nodes/register", json.dumps(body), content_type="application/json")
    assert answer.status_code == 201, answer.content
    node_id, credential = answer.json()["node_id"], answer.json()["credential"]
    client = Client(headers={"Authorization": f"Node {node_id}:{credential}"}, **HOST)
    status = {
        "node_id": node_id,
        "boot_id": "bench",
        "state": "ready",
        "applied_generation": 0,
        "engine": "embedded",
        "model": MODEL,
        "model_sha256": "",
        "reported_at": timezone.now().isoformat(),
    }
    reported = client.post(f"/internal/v1/nodes/{node_id}/status", json.dumps(status), content_type="application/json")
    assert reported.status_code == 204, reported.content
    placement.place(MODEL)
    return node_id, client


def measure_node(node_id: str, client: Any, repeat: int) -> Iterator[Measured]:
    path = f"/internal/v1/nodes/{node_id}"
    whole, _ = timed(lambda: client.get(f"{path}/snapshot"))
    projects = len(whole.json()["projects"])
    yield _repeated(f"node snapshot of {projects} projects", 200, repeat, lambda _: client.get(f"{path}/snapshot"))
    etag = {"If-None-Match": whole.headers["ETag"]}
    yield _repeated("node poll without change", 304, repeat, lambda _: client.get(f"{path}/snapshot", headers=etag))
    events = _batch(whole.json())

    def send(number: int) -> Any:
        batch = [
            {"boot_id": "bench", "seq": number * 100 + n + 1, "event": event | {"event_id": f"evt_{number}_{n}"}}
            for n, event in enumerate(events)
        ]
        content = json.dumps({"events": batch})
        return client.post(f"{path}/usage", content, content_type="application/json")

    start = int(time.time()) * 100
    yield _repeated("usage batch of 100 events", 200, repeat, lambda n: send(start + n))


def _batch(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """A hundred events of the endpoints in the snapshot."""
    from django.utils import timezone

    now = timezone.now().isoformat()
    organizations = {project["project_id"]: project["organization_id"] for project in snapshot["projects"]}
    keys = {key["project_id"]: key["key_id"] for key in snapshot["keys"]}
    endpoints = [endpoint for endpoint in snapshot["endpoints"] if endpoint["project_id"] in keys]
    return [
        {
            "organization_id": organizations[endpoint["project_id"]],
            "project_id": endpoint["project_id"],
            "endpoint_id": endpoint["endpoint_id"],
            "deployment_id": endpoint["deployment_id"],
            "key_id": keys[endpoint["project_id"]],
            "model": endpoint["model"],
            "status": "completed",
            "started_at": now,
            "finished_at": now,
            "prompt_tokens": 100,
            "cached_tokens": 0,
            "completion_tokens": 50,
            "steps": 10,
            "drafted": 20,
            "accepted": 10,
            "speculation_mode": "adaptive",
        }
        for endpoint in (endpoints * 100)[:100]
    ]


def _repeated(name: str, status: int, repeat: int, call: Callable[[int], Any]) -> Measured:
    answers = [timed(partial(call, number)) for number in range(repeat + 1)][1:]  # the first warms up
    for answer, _ in answers:
        if answer.status_code != status:
            return Measured(name, "node", answer.status_code, problem=answer.content[:200].decode())
    return Measured(name, "node", 200, tuple(sample for _, sample in answers))
