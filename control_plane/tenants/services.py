"""Changing organizations, projects, members and API keys. Every change is audited in its own transaction.

Locks are taken in one order: the row itself, the snapshot generation, the audit chain.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from control_plane.common.errors import Conflict, Invalid, NotFound
from control_plane.common.isolation import include
from control_plane.tenants import audit, key_format
from control_plane.tenants.accounts import has_second_factor
from control_plane.tenants.models import (
    INFERENCE_SCOPES,
    ApiKey,
    Membership,
    Organization,
    Project,
    ServiceKey,
    User,
)
from control_plane.tenants.placements import bump_generation
from control_plane.tenants.principal import Principal

AnyKey = TypeVar("AnyKey", ApiKey, ServiceKey)

PROJECT_LIMITS = ("requests_per_minute", "tokens_per_minute", "max_concurrent_requests")


@transaction.atomic
def create_organization(name: str, *, owner: User, request_id: str = "") -> Organization:
    organization = Organization(name=name)
    include(organization.id)
    organization.save(force_insert=True)
    Membership.objects.create(organization=organization, user=owner, role="owner")
    _audit(organization.id, owner.id, "organization.create", organization.id, {"name": name}, request_id)
    return organization


@transaction.atomic
def update_organization(
    organization: Organization, changes: dict[str, Any], *, principal: Principal, request_id: str = ""
) -> Organization:
    """Change the name, or whether members need a second factor. Raises Forbidden, ReauthenticationRequired, and
    Conflict when a person who has no second factor would shut themselves out."""
    difference = {name: value for name, value in changes.items() if getattr(organization, name) != value}
    if not difference:
        return organization
    if "requires_second_factor" in difference:
        principal.require("organization:security", organization.id)
        principal.require_recent_authentication()
        if difference["requires_second_factor"] and principal.is_person and not has_second_factor(principal.actor):
            raise Conflict("Set up your own second factor first.", code="second_factor_missing")
    diff = {name: [getattr(organization, name), value] for name, value in difference.items()}
    for name, value in difference.items():
        setattr(organization, name, value)
    organization.save(update_fields=list(difference))
    _audit(organization.id, principal.actor, "organization.update", organization.id, diff, request_id)
    return organization


# ----------------------------------------------------------------------------------------------------------- projects


@transaction.atomic
def create_project(
    organization: Organization, *, name: str, actor: str, request_id: str = "", **limits: int | None
) -> Project:
    """Raises Conflict when the organization has a project of this name."""
    project = Project(organization=organization, name=name, **limits)
    _save_project(project, force_insert=True)
    _audit(organization.id, actor, "project.create", project.id, {"name": name, **limits}, request_id)
    return project


@transaction.atomic
def update_project(project: Project, changes: dict[str, Any], *, actor: str, request_id: str = "") -> Project:
    """Change the name or the admission limits; nodes learn of it."""
    before = {name: getattr(project, name) for name in changes}
    difference = {name: value for name, value in changes.items() if before[name] != value}
    if not difference:
        return project
    for name, value in difference.items():
        setattr(project, name, value)
    _save_project(project, update_fields=list(difference))
    bump_generation(project.id)
    diff = {name: [before[name], value] for name, value in difference.items()}
    _audit(project.organization_id, actor, "project.update", project.id, diff, request_id)
    return project


@transaction.atomic
def rotate_cache_salt(project: Project) -> None:
    """Part the project from everything that nodes remember of it: a new salt makes them forget."""
    project.cache_salt = secrets.token_hex(16)
    project.save(update_fields=["cache_salt"])
    bump_generation(project.id)


def _save_project(project: Project, **options: Any) -> None:
    try:
        with transaction.atomic():
            project.save(**options)
    except IntegrityError as error:
        if "project_name_unique" not in str(error):
            raise
        raise Conflict("There is a project of this name.", code="name_in_use", pointer="/name") from error


# ------------------------------------------------------------------------------------------------------------ members


@transaction.atomic
def change_role(membership: Membership, role: str, *, principal: Principal, request_id: str = "") -> Membership:
    _lock_roles(membership)
    principal.require_rank(membership.organization_id, role)
    principal.require_rank(membership.organization_id, membership.role)
    _keep_an_owner(membership, becomes=role)
    before, membership.role = membership.role, role
    membership.save(update_fields=["role"])
    _audit(
        membership.organization_id, principal.actor, "member.role", membership.id, {"role": [before, role]}, request_id
    )
    return membership


@transaction.atomic
def remove_member(membership: Membership, *, principal: Principal, request_id: str = "") -> None:
    _lock_roles(membership)
    principal.require_rank(membership.organization_id, membership.role)
    _keep_an_owner(membership, becomes=None)
    organization_id, member = membership.organization_id, membership.id
    membership.delete()
    _audit(organization_id, principal.actor, "member.remove", member, {"role": membership.role}, request_id)


def _lock_roles(membership: Membership) -> None:
    """One change of roles at a time, and it sees the role as it is: two owners can't both leave at once."""
    Organization.objects.select_for_update().get(id=membership.organization_id)
    current = Membership.objects.filter(organization=membership.organization_id, pk=membership.pk).first()
    if current is None:
        raise NotFound
    membership.role = current.role


def _keep_an_owner(membership: Membership, *, becomes: str | None) -> None:
    """Raises Conflict if nobody would own the organization. Its roles are locked."""
    owners = Membership.objects.filter(organization=membership.organization_id, role="owner").exclude(pk=membership.pk)
    if membership.role == "owner" and becomes != "owner" and not owners.exists():
        raise Conflict("An organization has at least one owner.", code="last_owner")


# --------------------------------------------------------------------------------------------------------------- keys


@transaction.atomic
def create_api_key(
    project: Project,
    *,
    name: str,
    actor: str,
    environment: str = "live",
    scopes: Sequence[str] = INFERENCE_SCOPES,
    endpoints: Sequence[str] = (),
    allowed_ips: Sequence[str] = (),
    expires_at: datetime | None = None,
    request_id: str = "",
) -> tuple[ApiKey, str]:
    """The key's row and its text, which exists nowhere else from now on.

    endpoints: names; empty: all. allowed_ips: networks (CIDR); empty: from everywhere.
    """
    require_future(expires_at)
    new = key_format.mint(f"sls_{environment}", settings.SLIPSTREAM_KEY_PEPPER)
    key = ApiKey.objects.create(
        organization_id=project.organization_id,
        project=project,
        environment=environment,
        scopes=sorted(scopes),
        endpoints=sorted(endpoints),
        allowed_ips=sorted(allowed_ips),
        **stored(new, name=name, actor=actor, expires_at=expires_at),
    )
    bump_generation(project.id)
    changes = {
        "name": name,
        "project": project.id,
        "scopes": key.scopes,
        "endpoints": key.endpoints,
        "allowed_ips": key.allowed_ips,
    }
    _audit(project.organization_id, actor, "api_key.create", key.id, changes, request_id)
    return key, new.text


@transaction.atomic
def rotate_api_key(key: ApiKey, *, overlap_seconds: int, actor: str, request_id: str = "") -> tuple[ApiKey, str]:
    """A successor that is for the same, and lives as long from now on; the old key keeps working for the overlap."""
    locked = ApiKey.objects.filter(project=key.project_id).select_for_update().get(pk=key.pk)
    expires_at = let_run_out(locked, overlap_seconds)
    made = create_api_key(
        locked.project,
        name=locked.name,
        actor=actor,
        environment=locked.environment,
        scopes=locked.scopes,
        endpoints=locked.endpoints,
        allowed_ips=locked.allowed_ips,
        expires_at=expires_at,
        request_id=request_id,
    )
    _audit(key.organization_id, actor, "api_key.rotate", key.id, {"overlap_seconds": overlap_seconds}, request_id)
    return made


def let_run_out(locked: AnyKey, overlap_seconds: int) -> datetime | None:
    """End a key, whose row is locked, after the overlap. Returns the expiry of its successor: a key that was made for
    30 days is followed by one of 30 days. Raises Conflict for a key that doesn't work any more."""
    if not locked.is_live:
        raise Conflict("The key is revoked or expired.", code="key_not_live")
    now = timezone.now()
    successor = now + (locked.expires_at - locked.created_at) if locked.expires_at else None
    end = now + timedelta(seconds=overlap_seconds)
    locked.expires_at = min(end, locked.expires_at) if locked.expires_at else end
    locked.save(update_fields=["expires_at"])
    return successor


@transaction.atomic
def revoke_api_key(key: ApiKey, *, actor: str, request_id: str = "") -> ApiKey:
    """From the next snapshot on, no node takes the key. Revoking twice changes nothing."""
    if revoke(key):
        bump_generation(key.project_id)
        _audit(key.organization_id, actor, "api_key.revoke", key.id, {}, request_id)
    return key


def stored(new: key_format.NewKey, *, name: str, actor: str, expires_at: datetime | None) -> dict[str, Any]:
    return {
        "public_id": new.public_id,
        "digest": new.digest,
        "pepper_id": settings.SLIPSTREAM_KEY_PEPPER_ID,
        "last_four": new.last_four,
        "name": name,
        "created_by": actor,
        "expires_at": expires_at,
    }


def revoke(key: AnyKey) -> bool:
    """Whether this call revoked it."""
    now = timezone.now()
    rows = type(key).objects.filter(organization=key.organization_id, pk=key.pk, revoked_at=None)
    if rows.update(revoked_at=now) != 1:
        key.refresh_from_db(fields=["revoked_at"])
        return False
    key.revoked_at = now
    return True


def require_future(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The expiry is in the past.", pointer="/expires_at")


def _audit(organization: str, actor: str, action: str, target: str, changes: dict[str, Any], request_id: str) -> None:
    audit.record(organization, actor=actor, action=action, target=target, changes=changes, request_id=request_id)
