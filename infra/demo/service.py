"""The running service as a tenant's administrator sees it: its addresses, one management key, the management API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infra.demo.errors import DemoError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
_START_SECONDS = 240.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    control_plane_url: str
    inference_url: str  # ends in /v1
    organization_id: str
    management_key: str
    model: str


@contextmanager
def running_service(var: Path, report: Callable[[str], None]) -> Iterator[Service]:
    """The service that runs from `var`, or one that is started now and stopped afterwards. Raises DemoError."""
    control_plane = f"http://127.0.0.1:{os.environ.get('SLIPSTREAM_PORT', '8000')}"
    inference = f"http://127.0.0.1:{os.environ.get('SLIPSTREAM_NODE_PORT', '8100')}"
    if _is_ready(control_plane, inference):
        yield _describe(var, control_plane, inference)
        return
    report("Nothing answers yet: starting the service (as `make run` does).")
    process = subprocess.Popen([sys.executable, "-m", "infra.local", "up", "--var", var], cwd=REPOSITORY)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(control_plane, inference):
            if process.poll() is not None:
                raise DemoError("The service did not start: see the lines above and the files in var/log.")
            if time.monotonic() > deadline:
                raise DemoError(f"The service was not ready within {_START_SECONDS:.0f} s: see var/log.")
            time.sleep(0.5)
        yield _describe(var, control_plane, inference)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_STOP_SECONDS)


def _is_ready(control_plane: str, inference: str) -> bool:
    try:
        answers = [httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False) for url in (control_plane, inference)]
    except httpx.HTTPError:
        return False
    return all(answer.status_code == 200 for answer in answers)


def _describe(var: Path, control_plane: str, inference: str) -> Service:
    path = var / "run" / "demo.json"
    for _ in range(60):  # written a moment after the service became ready
        if path.exists():
            known = json.loads(path.read_text())
            return Service(
                control_plane, f"{inference}/v1", known["organization_id"], known["management_key"], known["model"]
            )
        time.sleep(0.5)
    raise DemoError(f"{path} is missing: the service that answers was not started from this folder by `make run`.")


class Management:
    """The management API (`/api/v1/docs`), with an organization's key. Raises DemoError with its own words."""

    def __init__(self, service: Service) -> None:
        self._organization_id = service.organization_id
        self._model = service.model
        self._http = httpx.Client(
            base_url=f"{service.control_plane_url}/api/v1",
            headers={"Authorization": f"Bearer {service.management_key}"},
            timeout=30.0,
            trust_env=False,
        )

    def create_project(self, name: str) -> str:
        """The new project's id."""
        return str(self._post("/projects", {"organization_id": self._organization_id, "name": name})["id"])

    def create_api_key(self, project_id: str) -> str:
        """An inference key; it is shown this once."""
        return str(self._post("/api-keys", {"project_id": project_id, "name": "demo"})["key"])

    def create_endpoint(self, project_id: str, name: str) -> str:
        """The new endpoint's id; it starts by itself."""
        return str(self._post("/endpoints", {"project_id": project_id, "name": name, "model": self._model})["id"])

    def consent_to_training(self, project_id: str) -> None:
        self._read("PUT", f"/projects/{project_id}/traffic-policy", {"capture": True, "sample_rate": 1.0})

    def endpoint(self, endpoint_id: str) -> dict[str, Any]:
        return self._read("GET", f"/endpoints/{endpoint_id}")

    def training_runs(self, project_id: str) -> list[dict[str, Any]]:
        return list(self._read("GET", f"/training-runs?project_id={project_id}")["data"])

    def speculator_versions(self, project_id: str) -> list[dict[str, Any]]:
        return list(self._read("GET", f"/speculator-versions?project_id={project_id}")["data"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._read("POST", path, body, {"Idempotency-Key": str(uuid.uuid4())})

    def _read(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise DemoError(f"{method} {path}: {error}") from error
        if response.is_error:
            raise DemoError(f"{method} {path} answered {response.status_code}: {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer
