"""Service accounts: programs that belong to an organization; their keys call the management API (slm_…)."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Organization, Yes
from slipstream_cli.commands.keys import Expires, Ips, Overlap, show_once
from slipstream_cli.session import Session

accounts = Group("service-accounts", "Service accounts: programs that belong to an organization.")
keys = Group("service-keys", "Service keys: what programs call the management API with (slm_…).")


@accounts.command("list")
def list_accounts(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """The service accounts of an organization, or all that you see."""
    chosen = session.organization(organization) if organization else None
    found = session.page("/service-accounts", limit=limit, organization_id=chosen)
    session.show_page(found, ("id", "name", "role", "created_by", "created_at", "disabled_at"))


@accounts.command("create")
def create_account(
    session: Session,
    name: str,
    role: Annotated[str, typer.Option(help="owner, admin, developer, billing or viewer.")],
    organization: Organization = None,
) -> None:
    """Make a service account; give it keys with `service-keys create`."""
    body = {"organization_id": session.organization(organization), "name": name, "role": role}
    session.show(session.post("/service-accounts", body))


@accounts.command("show")
def show_account(session: Session, account: str) -> None:
    """One service account."""
    session.show(session.get(f"/service-accounts/{account}"))


@accounts.command("disable")
def disable_account(session: Session, account: str, yes: Yes = False) -> None:
    """Refuse all keys of a service account, until it is enabled again."""
    session.confirm(f"Disable {account}? All of its keys are refused.", yes=yes)
    session.show(session.call("PATCH", f"/service-accounts/{account}", {"disabled": True}))


@accounts.command("enable")
def enable_account(session: Session, account: str) -> None:
    """Let a disabled service account in again."""
    session.show(session.call("PATCH", f"/service-accounts/{account}", {"disabled": False}))


@keys.command("list")
def list_keys(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """The service keys of an organization, or all that you see."""
    chosen = session.organization(organization) if organization else None
    found = session.page("/service-keys", limit=limit, organization_id=chosen)
    session.show_page(found, ("id", "name", "role", "scopes", "last_four", "last_used_at", "expires_at", "revoked_at"))


@keys.command("create")
def create_key(
    session: Session,
    name: str,
    role: Annotated[str | None, typer.Option(help="Makes a service account of the key's own with this role.")] = None,
    account: Annotated[str | None, typer.Option(help="The service account that it is a key of.")] = None,
    organization: Organization = None,
    scope: Annotated[list[str] | None, typer.Option(help="Only this permission; may be repeated.")] = None,
    allowed_ip: Ips = None,
    expires_at: Expires = None,
) -> None:
    """Make a service key. It is shown this once."""
    body = {
        "organization_id": session.organization(organization),
        "service_account_id": account,
        "name": name,
        "role": role,
        "scopes": scope or None,
        "allowed_ips": allowed_ip or None,
        "expires_at": expires_at,
    }
    show_once(session, session.post("/service-keys", body))


@keys.command("rotate")
def rotate_key(session: Session, key: str, overlap_seconds: Overlap = 86_400) -> None:
    """Replace a service key; the old one works on for the overlap."""
    show_once(session, session.post(f"/service-keys/{key}/rotate", {"overlap_seconds": overlap_seconds}))


@keys.command("revoke")
def revoke_key(session: Session, key: str, yes: Yes = False) -> None:
    """Stop a service key at once."""
    session.confirm(f"Revoke {key}?", yes=yes)
    session.show(session.call("DELETE", f"/service-keys/{key}"), f"Revoked {key}.")
