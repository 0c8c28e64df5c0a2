"""Changing programs' accounts and their keys: the account has a role, its keys narrow it. Every change is audited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict, Forbidden, Invalid
from control_plane.tenants import audit, key_format
from control_plane.tenants.models import Organization, ServiceAccount, ServiceKey
from control_plane.tenants.permissions import PERMISSIONS, allows
from control_plane.tenants.principal import Principal
from control_plane.tenants.services import let_run_out, require_future, revoke, stored


@transaction.atomic
def create_service_account(
    organization: Organization, *, name: str, role: str, principal: Principal, request_id: str = ""
) -> ServiceAccount:
    """Nobody makes an account that may do more than they may. Raises Forbidden."""
    principal.require_rank(organization.id, role)
    _require_no_more(principal, role, set())
    account = ServiceAccount.objects.create(organization=organization, name=name, role=role, created_by=principal.actor)
    _audit(account, principal, "service_account.create", {"name": name, "role": role}, request_id)
    return account


@transaction.atomic
def update_service_account(
    account: ServiceAccount, changes: dict[str, Any], *, principal: Principal, request_id: str = ""
) -> ServiceAccount:
    """changes: `name`, `role`, `disabled`. Keys of a disabled account are refused until it is enabled again."""
    locked = ServiceAccount.objects.filter(organization=account.organization_id).select_for_update().get(pk=account.pk)
    principal.require_rank(locked.organization_id, locked.role)
    if "role" in changes:
        principal.require_rank(locked.organization_id, changes["role"])
    # A narrowed key gives no role, and no life, to what may do more than itself.
    _require_no_more(principal, changes.get("role", locked.role), set())
    now = {"name": locked.name, "role": locked.role, "disabled": locked.disabled_at is not None}
    diff = {name: [now[name], value] for name, value in changes.items() if now[name] != value}
    if not diff:
        return locked
    locked.name, locked.role = changes.get("name", locked.name), changes.get("role", locked.role)
    if "disabled" in diff:
        locked.disabled_at = timezone.now() if changes["disabled"] else None
    locked.save(update_fields=["name", "role", "disabled_at"])
    _audit(locked, principal, "service_account.update", diff, request_id)
    return locked


@transaction.atomic
def create_service_key(
    organization: Organization,
    *,
    name: str,
    principal: Principal,
    role: str | None = None,
    account: ServiceAccount | None = None,
    scopes: Sequence[str] = (),
    allowed_ips: Sequence[str] = (),
    expires_at: datetime | None = None,
    request_id: str = "",
) -> tuple[ServiceKey, str]:
    """A key of `account`, or of an account of its own that has `role`; narrowed by scopes and networks.

    Nobody makes a key that may do more than they may. Raises Forbidden, Invalid.
    """
    if (role is None) == (account is None):
        raise Invalid("Name a service account, or the role of one of the key's own.", pointer="/role", code="required")
    held = account.role if account is not None else role
    assert held is not None, "one of the two is there"
    principal.require_rank(organization.id, held)
    require_future(expires_at)
    for scope in sorted(set(scopes)):
        if scope not in PERMISSIONS or not allows(held, scope):
            raise Invalid(f"The role {held} has no permission {scope!r}.", pointer="/scopes")
    _require_no_more(principal, held, set(scopes))
    if account is None:
        account = ServiceAccount.objects.create(
            organization=organization, name=name, role=held, created_by=principal.actor
        )
        _audit(account, principal, "service_account.create", {"name": name, "role": held}, request_id)
    return _make(
        account,
        principal,
        name=name,
        scopes=scopes,
        allowed_ips=allowed_ips,
        expires_at=expires_at,
        request_id=request_id,
    )


@transaction.atomic
def rotate_service_key(
    key: ServiceKey, *, overlap_seconds: int, principal: Principal, request_id: str = ""
) -> tuple[ServiceKey, str]:
    """A successor that may do the same, and lives as long from now on; the old key works on for the overlap."""
    rows = ServiceKey.objects.filter(organization=key.organization_id).select_related("account")
    locked = rows.select_for_update(of=("self",)).get(pk=key.pk)
    principal.require_rank(locked.organization_id, locked.role)
    if principal.actor != locked.id:  # a key may always make its own successor
        _require_no_more(principal, locked.role, set(locked.scopes))
    if locked.account.disabled_at is not None:
        raise Conflict("The key's service account is disabled.", code="key_not_live")
    expires_at = let_run_out(locked, overlap_seconds)
    made = _make(
        locked.account,
        principal,
        name=locked.name,
        scopes=locked.scopes,
        allowed_ips=locked.allowed_ips,
        expires_at=expires_at,
        request_id=request_id,
    )
    _audit(locked, principal, "service_key.rotate", {"overlap_seconds": overlap_seconds}, request_id)
    return made


@transaction.atomic
def revoke_service_key(key: ServiceKey, *, actor: str, request_id: str = "") -> ServiceKey:
    """From now on it opens nothing. Revoking twice changes nothing."""
    if revoke(key):
        audit.record(
            key.organization_id, actor=actor, action="service_key.revoke", target=key.id, request_id=request_id
        )
    return key


def _make(
    account: ServiceAccount,
    principal: Principal,
    *,
    name: str,
    scopes: Sequence[str],
    allowed_ips: Sequence[str],
    expires_at: datetime | None,
    request_id: str,
) -> tuple[ServiceKey, str]:
    new = key_format.mint("slm", settings.SLIPSTREAM_KEY_PEPPER)
    key = ServiceKey.objects.create(
        organization_id=account.organization_id,
        account=account,
        scopes=sorted(set(scopes)),
        allowed_ips=sorted(allowed_ips),
        **stored(new, name=name, actor=principal.actor, expires_at=expires_at),
    )
    changes = {
        "name": name,
        "account": account.id,
        "role": account.role,
        "scopes": key.scopes,
        "allowed_ips": key.allowed_ips,
    }
    _audit(key, principal, "service_key.create", changes, request_id)
    return key, new.text


def _require_no_more(principal: Principal, role: str, scopes: set[str]) -> None:
    """Raises Forbidden if a key of this role and these scopes (none: all of the role's) could do more."""
    if principal.scopes is None:
        return
    wanted = scopes or {permission for permission in PERMISSIONS if allows(role, permission)}
    if not wanted <= principal.scopes:
        raise Forbidden("A key can't make or change what may do more than itself.")


def _audit(
    row: ServiceAccount | ServiceKey, principal: Principal, action: str, changes: dict[str, Any], request_id: str
) -> None:
    audit.record(
        row.organization_id,
        actor=principal.actor,
        action=action,
        target=row.id,
        changes=changes,
        request_id=request_id,
    )
