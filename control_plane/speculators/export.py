"""Handing a version to its owner: short-lived signed URLs of its artifact and its signed manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectStore
from control_plane.speculators.models import SpeculatorVersion, VersionState
from control_plane.tenants import audit

URL_SECONDS = 600
# The artifact is complete in the store; before it is not, and once purged it is gone.
_EXPORTABLE = frozenset(VersionState.values) - {VersionState.UPLOADING, VersionState.VERIFYING, VersionState.PURGED}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    name: str
    url: str
    sha256: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class VersionExport:
    speculator_version_id: str
    expires_at: datetime
    files: tuple[ExportedFile, ...]


@transaction.atomic
def export_version(
    version: SpeculatorVersion, store: ObjectStore, *, actor: str, request_id: str = ""
) -> VersionExport:
    """URLs that anybody who has them can read for URL_SECONDS; audited. Raises Conflict where there is no artifact."""
    if version.state not in _EXPORTABLE or version.state_code == "upload_abandoned":
        raise Conflict(f"A version that is {version.state} has no artifact to export.", code="no_artifact")
    audit.record(
        version.organization_id,
        actor=actor,
        action="speculator_version.export",
        target=version.id,
        changes={"sha256": version.sha256},
        request_id=request_id,
    )
    name = f"{version.speculator_id}-v{version.number}"
    return VersionExport(
        version.id,
        timezone.now() + timedelta(seconds=URL_SECONDS),
        (
            ExportedFile(
                f"{name}.safetensors",
                store.presign_get(version.artifact_key, expires_seconds=URL_SECONDS),
                version.sha256,
                version.size_bytes,
            ),
            ExportedFile(
                f"{name}.manifest.json",
                store.presign_get(version.manifest_key, expires_seconds=URL_SECONDS),
                version.manifest_sha256,
                None,
            ),
        ),
    )
