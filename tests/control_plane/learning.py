"""A tenant whose endpoint learns: rows made by the services, traffic in the real bucket, a small training process."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import zstandard
from django.utils import timezone

from control_plane.common.object_store import ObjectStore
from control_plane.common.states import transition
from control_plane.endpoints.models import CatalogueModel, Endpoint, SpeculationWindow
from control_plane.endpoints.services import create_endpoint
from control_plane.speculators import services
from control_plane.speculators.manifest import SigningKey
from control_plane.speculators.models import Speculator, SpeculatorVersion, VersionState
from control_plane.tenants.models import Organization, Project
from dataplane.contracts import TrafficRecord, canonical_json

KEY = SigningKey.from_base64(base64.b64encode(bytes(range(32))).decode(), "test")
CHILD = Path(__file__).with_name("training_process.py")
ACTOR = "usr_test"


@dataclass(frozen=True)
class Tenant:
    project: Project
    endpoint: Endpoint
    speculator: Speculator

    def consent(self, **changes: Any) -> Any:
        wanted = {"capture": True, "sample_rate": 1.0, "retention_days": 30} | changes
        return services.set_traffic_policy(self.project, actor=ACTOR, **wanted)


def make_tenant(name: str = "acme") -> Tenant:
    model, _ = CatalogueModel.objects.get_or_create(
        id="tiny", defaults={"name": "Tiny", "folder": "tiny", "static_checkpoint": "tiny", "context_length": 256}
    )
    organization = Organization.objects.create(name=name)
    project = Project.objects.create(organization=organization, name=name)
    endpoint = create_endpoint(project, name="assistant", model=model, actor=ACTOR)
    return Tenant(project, endpoint, services.ensure_speculator(project, model.id))


def make_version(tenant: Tenant, *, state: str = "eligible", candidate: float = 3.0) -> SpeculatorVersion:
    """A version as a training run leaves it."""
    artifact = services.Artifact(
        sha256=uuid4().hex * 2,
        size_bytes=100,
        static_sha256="a" * 64,
        training_run_id=None,
        parent=None,
        sample_count=64,
        window_start=None,
        window_end=None,
        consent={"capture": True},
        lineage={},
        evaluation={"candidate": {"acceptance_length": candidate}, "static": {"acceptance_length": 2.0}},
        gate={"outcome": "accepted"},
    )
    version, _ = services.create_version(tenant.speculator, artifact, key=KEY)
    for step in (VersionState.VERIFYING, VersionState.ELIGIBLE):
        transition(version, step)
    return services.promote(version, actor=ACTOR) if state == "active" else version


def add_window(
    tenant: Tenant,
    arm: str,
    version: SpeculatorVersion | None,
    *,
    steps: int,
    accepted: int,
    relearning: bool = False,
) -> None:
    """What a node reports of one arm between two heartbeats."""
    now = timezone.now()
    SpeculationWindow.objects.create(
        organization=tenant.project.organization,
        endpoint=tenant.endpoint,
        node_id="node_00000000000000000000000001",
        arm=arm,
        speculator_version_id=version and version.id,
        started_at=now,
        ended_at=now,
        requests=10,
        completion_tokens=steps + accepted,
        decode_seconds=1.0,
        steps=steps,
        drafted=8 * steps,
        accepted=accepted,
        per_position_drafted=[steps],
        per_position_accepted=[accepted],
        relearning=relearning,
    )


def put_segment(
    store: ObjectStore,
    tenant: Tenant,
    *,
    records: int = 16,
    at: datetime | None = None,
    extra: list[bytes] | None = None,
) -> str:
    """Upload a segment as a node does; returns its key."""
    at = at or timezone.now()
    lines = [
        canonical_json(
            TrafficRecord(
                record_id=f"req_{index}",
                project_id=tenant.project.id,
                endpoint_id=tenant.endpoint.id,
                model=tenant.endpoint.model_id,
                created_at=at.isoformat(),
                prompt_tokens=(1, 2, 3),
                output_tokens=(4, 5),
            )
        )
        for index in range(records)
    ] + (extra or [])
    key = f"projects/{tenant.project.id}/traffic/{at.astimezone(UTC):%Y-%m-%d}/node_1-{uuid4().hex}-00000001.jsonl.zst"
    metadata = {
        "records": str(records),
        "tokens": str(5 * records),
        "first_timestamp": at.isoformat(),
        "last_timestamp": (at + timedelta(seconds=1)).isoformat(),
    }
    store.put(key, zstandard.ZstdCompressor().compress(b"\n".join(lines) + b"\n"), metadata=metadata)
    return key


def use_training_process(settings: Any, tmp_path: Path, **behaviour: Any) -> None:
    """Let runs start tests/control_plane/training_process.py, with model folders that exist."""
    settings.SLIPSTREAM_TRAINING_COMMAND = [sys.executable, str(CHILD), json.dumps(behaviour)]
    settings.SLIPSTREAM_TRAINING_POLL_SECONDS = 0.05
    settings.SLIPSTREAM_TRAINING_MEMORY_BYTES = 1 << 30
    settings.SLIPSTREAM_VAR = tmp_path / "var"
    settings.SLIPSTREAM_MODELS_DIR = tmp_path / "models"
    settings.SLIPSTREAM_CHECKPOINTS_DIR = tmp_path / "checkpoints"
    for folder in (settings.SLIPSTREAM_MODELS_DIR, settings.SLIPSTREAM_CHECKPOINTS_DIR):
        (folder / "tiny").mkdir(parents=True, exist_ok=True)
