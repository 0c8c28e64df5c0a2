"""Changing endpoints. The API writes what is desired; the reconciler (fleet) alone writes what is observed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from control_plane.common.errors import Conflict, Invalid
from control_plane.common.states import record_event
from control_plane.endpoints import deployments, rollouts
from control_plane.endpoints.changes import announce, audited, lock_endpoint
from control_plane.endpoints.deployments import POLICY
from control_plane.endpoints.models import MAX_REPLICAS, WHOLE, CatalogueModel, Endpoint
from control_plane.endpoints.rollout_plan import IMMEDIATE, Plan
from control_plane.tenants import audit
from control_plane.tenants.models import Project
from control_plane.tenants.placements import bump_generation

__all__ = ["bump_generation", "create_endpoint", "set_desired_state", "undelete_endpoint", "update_endpoint"]

REPLICAS = ("min_replicas", "max_replicas")


@transaction.atomic
def create_endpoint(
    project: Project, *, name: str, model: CatalogueModel, actor: str, request_id: str = "", **options: Any
) -> Endpoint:
    """A new endpoint that wants to run. Raises Conflict when the project has one of this name."""
    if not model.enabled:
        raise Invalid("This model is not offered.", pointer="/model")
    endpoint = Endpoint(
        organization_id=project.organization_id, project=project, name=name, model=model, state="pending", **options
    )
    if "max_replicas" not in options:
        endpoint.max_replicas = max(endpoint.max_replicas, endpoint.min_replicas)
    _check_replicas(endpoint.min_replicas, endpoint.max_replicas)
    endpoint.desired_replicas = endpoint.min_replicas
    with _name_taken():
        endpoint.save(force_insert=True)
    deployments.create(endpoint, deployments.first_specification(endpoint), weight=WHOLE, active=True)
    announce(endpoint)
    record_event(endpoint, before="", code="created", actor=actor)
    audit.record(
        project.organization_id,
        actor=actor,
        action="endpoint.create",
        target=endpoint.id,
        changes={"name": name, "model": model.id, "project": project.id, **options},
        request_id=request_id,
    )
    return endpoint


@transaction.atomic
def update_endpoint(
    endpoint: Endpoint,
    changes: dict[str, Any],
    plan: Plan = IMMEDIATE,
    *,
    actor: str,
    if_match: str | None = None,
    request_id: str = "",
) -> Endpoint:
    """Change the replicas at once, and the speculation policy by a rollout to a new deployment.

    `if_match` is checked again under the row's lock. Raises PreconditionFailed, Invalid, and what `rollouts.start`
    raises.
    """
    locked = lock_endpoint(endpoint, if_match)
    if locked.desired_state == "deleted":
        raise Conflict("The endpoint is being deleted.", code="deleting")
    replicas = {name: changes[name] for name in REPLICAS if name in changes and changes[name] != getattr(locked, name)}
    if replicas:
        before = {name: getattr(locked, name) for name in replicas}
        for name, value in replicas.items():
            setattr(locked, name, value)
        _check_replicas(locked.min_replicas, locked.max_replicas)
        locked.desired_replicas = min(max(locked.desired_replicas, locked.min_replicas), locked.max_replicas)
        locked.save(update_fields=[*replicas, "desired_replicas"])
        announce(locked)
        difference = {name: [before[name], value] for name, value in replicas.items()}
        audited(locked, "endpoint.update", difference, actor, request_id)
    policy = {name: changes[name] for name in POLICY if name in changes}
    spec = deployments.changed(deployments.active_deployment(locked), policy)
    if spec is not None:
        rollouts.start(locked, spec, plan, actor=actor, request_id=request_id)
        locked.refresh_from_db()
    return locked


@transaction.atomic
def set_desired_state(
    endpoint: Endpoint, desired: str, *, actor: str, if_match: str | None = None, request_id: str = ""
) -> Endpoint:
    """`running`, `stopped` or `deleted`. What does not run has nothing to roll out: an open rollout is aborted.

    Raises Conflict once it is deleted: only `undelete_endpoint` brings it back.
    """
    locked = lock_endpoint(endpoint, if_match)
    if locked.desired_state == "deleted":
        raise Conflict("The endpoint is being deleted.", code="deleting")
    if locked.desired_state == desired:
        return locked
    if desired != "running" and (found := deployments.open_rollout(locked)) is not None:
        message = f"The endpoint is to be {desired}."
        rollouts.abort(found, actor=actor, message=message, code="endpoint_stopped", request_id=request_id)
    before, locked.desired_state = locked.desired_state, desired
    if desired == "deleted":
        locked.deleted_at, locked.desired_before = timezone.now(), before
    locked.desired_replicas, locked.quiet_since = locked.min_replicas, None  # no load yet, or no more
    locked.save(update_fields=["desired_state", "deleted_at", "desired_before", "desired_replicas", "quiet_since"])
    announce(locked)
    audited(locked, "endpoint.desired_state", {"desired_state": [before, desired]}, actor, request_id)
    return locked


@transaction.atomic
def undelete_endpoint(endpoint: Endpoint, *, actor: str, name: str | None = None, request_id: str = "") -> Endpoint:
    """Bring a deleted endpoint back as it was, running or stopped, within the retention period.

    Its name was free meanwhile: `name` gives it another one. Raises Conflict where the name is taken, the endpoint is
    not deleted, or it is too late.
    """
    locked = lock_endpoint(endpoint)
    if locked.desired_state != "deleted":
        raise Conflict("The endpoint is not deleted.", code="not_deleted")
    until = undelete_until(locked)
    if locked.purged_at is not None or until is None or until <= timezone.now():
        raise Conflict("The endpoint was deleted too long ago.", code="purged")
    locked.desired_state, locked.deleted_at = locked.desired_before or "stopped", None
    before, locked.name = locked.name, name or locked.name
    with _name_taken():
        locked.save(update_fields=["desired_state", "deleted_at", "name"])
    announce(locked)
    changes = {"desired_state": ["deleted", locked.desired_state]}
    if before != locked.name:
        changes["name"] = [before, locked.name]
    audited(locked, "endpoint.undelete", changes, actor, request_id)
    return locked


def undelete_until(endpoint: Endpoint) -> datetime | None:
    """Until when the endpoint can be brought back; None if it is not deleted, or purged."""
    if endpoint.deleted_at is None or endpoint.purged_at is not None:
        return None
    return endpoint.deleted_at + timedelta(days=settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS)


def purge_deleted(now: datetime | None = None) -> int:
    """What was deleted longer ago than the retention period can't come back. Returns the number of endpoints.

    What they did (windows, rollouts, events) goes; the row stays without them, because usage and statements name it.
    """
    now = now or timezone.now()
    before = now - timedelta(days=settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS)
    due = Endpoint.objects.unscoped().filter(state="deleted", deleted_at__lte=before, purged_at=None)
    purged = 0
    for endpoint in due.order_by("id").iterator(chunk_size=100):
        with transaction.atomic():
            locked = lock_endpoint(endpoint)
            if locked.deleted_at is None or locked.deleted_at > before or locked.purged_at is not None:
                continue
            locked.windows.all().delete()
            locked.rollouts.all().delete()
            locked.deployments.filter(active=False).delete()
            locked.purged_at = now
            locked.save(update_fields=["purged_at"])
            audited(locked, "endpoint.purge", {"deleted_at": str(locked.deleted_at)}, "system", "")
            purged += 1
    return purged


def _check_replicas(least: int, most: int) -> None:
    if not 1 <= least <= MAX_REPLICAS:
        raise Invalid(f"This must lie between 1 and {MAX_REPLICAS}.", pointer="/min_replicas")
    if not least <= most <= MAX_REPLICAS:
        raise Invalid(f"This must lie between min_replicas and {MAX_REPLICAS}.", pointer="/max_replicas")


@contextmanager
def _name_taken() -> Iterator[None]:
    """A savepoint that turns the unique constraint's refusal into a Conflict."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "endpoint_name_unique" not in str(error):
            raise
        raise Conflict("The project has an endpoint of this name.", code="name_in_use", pointer="/name") from error
