"""Changing endpoints. The API writes what is desired; the reconciler (fleet) alone writes what is observed."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from control_plane.common.errors import Conflict, Invalid, PreconditionFailed
from control_plane.common.states import record_event
from control_plane.endpoints.models import CatalogueModel, Deployment, Endpoint
from control_plane.tenants import audit
from control_plane.tenants.models import Project
from control_plane.tenants.placements import bump_generation

__all__ = ["bump_generation", "create_endpoint", "set_desired_state", "update_endpoint"]

# What a client may change afterwards.
MUTABLE = ("speculation_mode", "max_lookahead", "holdout_rate")


@transaction.atomic
def create_endpoint(
    project: Project, *, name: str, model: CatalogueModel, actor: str, request_id: str = "", **settings: Any
) -> Endpoint:
    """A new endpoint that wants to run. Raises Conflict when the project has one of this name."""
    if not model.enabled:
        raise Invalid("This model is not offered.", pointer="/model")
    endpoint = Endpoint(
        organization_id=project.organization_id, project=project, name=name, model=model, state="pending", **settings
    )
    try:
        with transaction.atomic():
            endpoint.save(force_insert=True)
    except IntegrityError as error:
        if "endpoint_name_unique" not in str(error):
            raise
        raise Conflict("The project has an endpoint of this name.", code="name_in_use", pointer="/name") from error
    Deployment.objects.create(
        organization_id=project.organization_id, endpoint=endpoint, number=1, model=model, model_sha256=model.sha256
    )
    _changed(endpoint)
    record_event(endpoint, before="", code="created", actor=actor)
    audit.record(
        project.organization_id,
        actor=actor,
        action="endpoint.create",
        target=endpoint.id,
        changes={"name": name, "model": model.id, "project": project.id, **settings},
        request_id=request_id,
    )
    return endpoint


@transaction.atomic
def update_endpoint(
    endpoint: Endpoint, changes: dict[str, Any], *, actor: str, if_match: str | None = None, request_id: str = ""
) -> Endpoint:
    """Change the speculation policy. `if_match` is checked again under the row's lock. Raises PreconditionFailed."""
    locked = _lock(endpoint, if_match)
    before = {name: getattr(locked, name) for name in MUTABLE}
    difference = {name: value for name, value in changes.items() if name in MUTABLE and before[name] != value}
    if not difference:
        return locked
    for name, value in difference.items():
        setattr(locked, name, value)
    locked.save(update_fields=list(difference))
    _changed(locked)
    _audit(
        locked,
        "endpoint.update",
        {name: [before[name], value] for name, value in difference.items()},
        actor,
        request_id,
    )
    return locked


@transaction.atomic
def set_desired_state(
    endpoint: Endpoint, desired: str, *, actor: str, if_match: str | None = None, request_id: str = ""
) -> Endpoint:
    """`running`, `stopped` or `deleted`. Deleting is final: raises Conflict afterwards."""
    locked = _lock(endpoint, if_match)
    if locked.desired_state == "deleted":
        raise Conflict("The endpoint is being deleted.", code="deleting")
    if locked.desired_state == desired:
        return locked
    before, locked.desired_state = locked.desired_state, desired
    locked.save(update_fields=["desired_state"])
    _changed(locked)
    _audit(locked, "endpoint.desired_state", {"desired_state": [before, desired]}, actor, request_id)
    return locked


def _lock(endpoint: Endpoint, if_match: str | None) -> Endpoint:
    locked = Endpoint.objects.unscoped().select_for_update().get(pk=endpoint.pk)
    if if_match is not None and if_match.strip() not in (locked.etag, "*"):
        raise PreconditionFailed(f"The endpoint has changed; its ETag is now {locked.etag}.")
    return locked


def _changed(endpoint: Endpoint) -> None:
    """The nodes must know, and clients see another ETag."""
    generation = bump_generation(endpoint.project_id)
    Endpoint.objects.unscoped().filter(pk=endpoint.pk).update(
        row_version=F("row_version") + 1, generation=generation, updated_at=timezone.now()
    )
    endpoint.refresh_from_db(fields=["row_version", "generation", "updated_at"])


def _audit(endpoint: Endpoint, action: str, changes: dict[str, Any], actor: str, request_id: str) -> None:
    audit.record(
        endpoint.organization_id,
        actor=actor,
        action=action,
        target=endpoint.id,
        changes=changes,
        request_id=request_id,
    )
