"""What every change of an endpoint begins and ends with: its lock and ETag, the nodes' generation, the audit log."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.utils import timezone

from control_plane.common.errors import PreconditionFailed
from control_plane.endpoints.models import Endpoint
from control_plane.tenants import audit
from control_plane.tenants.placements import bump_generation


def lock_endpoint(endpoint: Endpoint, if_match: str | None = None) -> Endpoint:
    """The row as it is now, locked. Raises PreconditionFailed if its ETag is not `if_match`."""
    locked = Endpoint.objects.unscoped().select_for_update().get(pk=endpoint.pk)
    if if_match is not None and if_match.strip() not in (locked.etag, "*"):
        raise PreconditionFailed(f"The endpoint has changed; its ETag is now {locked.etag}.")
    return locked


def announce(endpoint: Endpoint) -> int:
    """The nodes must know, and clients see another ETag. Returns the generation that nodes have to apply."""
    generation = bump_generation(endpoint.project_id)
    Endpoint.objects.unscoped().filter(pk=endpoint.pk).update(
        row_version=F("row_version") + 1, generation=generation, updated_at=timezone.now()
    )
    endpoint.refresh_from_db(fields=["row_version", "generation", "updated_at"])
    return generation


def audited(endpoint: Endpoint, action: str, changes: dict[str, Any], actor: str, request_id: str) -> None:
    audit.record(
        endpoint.organization_id,
        actor=actor,
        action=action,
        target=endpoint.id,
        changes=changes,
        request_id=request_id,
    )
