"""API keys (inference) and service keys (management)."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Organization, Project, Yes
from slipstream_cli.commands.account import remember
from slipstream_cli.session import Object, Session

api_keys = Group("keys", "API keys: what clients call inference with (sls_…).")
service_keys = Group("service-keys", "Service keys: what programs call the management API with (slm_…).")

_LOST = "The key was made, but its text was lost on the way: revoke it and make another."
Expires = Annotated[str | None, typer.Option(help="Moment it stops working, e.g. 2027-01-31T00:00:00Z.")]


@api_keys.command("list")
def list_keys(session: Session, project: Project = None, limit: Limit = 20) -> None:
    """The API keys of a project, or all that you see."""
    found = session.page("/api-keys", limit=limit, project_id=session.project(project) if project else None)
    session.show_page(found, ("id", "name", "environment", "last_four", "project_id", "expires_at", "revoked_at"))


@api_keys.command("create")
def create_key(
    session: Session,
    name: str,
    project: Project = None,
    environment: Annotated[str, typer.Option(help="live or test.")] = "live",
    expires_at: Expires = None,
    save: Annotated[bool, typer.Option("--save", help="Remember it for `slipstream chat`.")] = False,
) -> None:
    """Make an API key. It is shown this once."""
    body = {
        "project_id": session.project(project),
        "name": name,
        "environment": environment,
        "expires_at": expires_at,
    }
    made = session.post("/api-keys", body)
    _show_once(session, made)
    if save and made["key"]:
        remember(session, inference_key=str(made["key"]), project=str(made["project_id"]))


@api_keys.command("show")
def show_key(session: Session, key: str) -> None:
    """One API key (never its text)."""
    session.show(session.get(f"/api-keys/{key}"))


@api_keys.command("rotate")
def rotate_key(
    session: Session,
    key: str,
    overlap_seconds: Annotated[int, typer.Option(min=0, help="How long the old key still works.")] = 86_400,
) -> None:
    """Replace a key; the old one works on for the overlap."""
    _show_once(session, session.post(f"/api-keys/{key}/rotate", {"overlap_seconds": overlap_seconds}))


@api_keys.command("revoke")
def revoke_key(session: Session, key: str, yes: Yes = False) -> None:
    """Stop a key at once."""
    session.confirm(f"Revoke {key}? Whoever uses it is refused within seconds.", yes=yes)
    session.show(session.call("DELETE", f"/api-keys/{key}"), f"Revoked {key}.")


@service_keys.command("list")
def list_service_keys(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """The service keys of an organization, or all that you see."""
    chosen = session.organization(organization) if organization else None
    found = session.page("/service-keys", limit=limit, organization_id=chosen)
    session.show_page(found, ("id", "name", "role", "scopes", "last_four", "last_used_at", "expires_at", "revoked_at"))


@service_keys.command("create")
def create_service_key(
    session: Session,
    name: str,
    role: Annotated[str, typer.Option(help="owner, admin, developer, billing or viewer.")],
    organization: Organization = None,
    scope: Annotated[list[str] | None, typer.Option(help="Only this permission; may be repeated.")] = None,
    expires_at: Expires = None,
) -> None:
    """Make a service key. It is shown this once."""
    body = {
        "organization_id": session.organization(organization),
        "name": name,
        "role": role,
        "scopes": scope or [],
        "expires_at": expires_at,
    }
    _show_once(session, session.post("/service-keys", body))


@service_keys.command("revoke")
def revoke_service_key(session: Session, key: str, yes: Yes = False) -> None:
    """Stop a service key at once."""
    session.confirm(f"Revoke {key}?", yes=yes)
    session.show(session.call("DELETE", f"/service-keys/{key}"), f"Revoked {key}.")


def _show_once(session: Session, made: Object) -> None:
    """A repeated request replays everything but the secret."""
    session.show(made, "Keep the key now: it is not shown again." if made.get("key") else _LOST)
