"""API keys: inference."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Project, Yes
from slipstream_cli.commands.account import remember
from slipstream_cli.session import Object, Session

api_keys = Group("keys", "API keys: what clients call inference with (sls_…).")

_LOST = "The key was made, but its text was lost on the way: revoke it and make another."
Ips = Annotated[list[str] | None, typer.Option(help="Only from this address or network; may be repeated.")]
Overlap = Annotated[int, typer.Option(min=0, help="How long the old key still works.")]
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
    endpoint: Annotated[list[str] | None, typer.Option(help="Only this endpoint; may be repeated.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="inference:read, inference:write; default: both.")] = None,
    allowed_ip: Ips = None,
    expires_at: Expires = None,
    save: Annotated[bool, typer.Option("--save", help="Remember it for `slipstream chat`.")] = False,
) -> None:
    """Make an API key. It is shown this once."""
    body = {
        "project_id": session.project(project),
        "name": name,
        "environment": environment,
        "scopes": scope or None,
        "endpoints": [_name(session, given, project) for given in endpoint] if endpoint else None,
        "allowed_ips": allowed_ip or None,
        "expires_at": expires_at,
    }
    made = session.post("/api-keys", body)
    show_once(session, made)
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
    overlap_seconds: Overlap = 86_400,
) -> None:
    """Replace a key; the old one works on for the overlap."""
    show_once(session, session.post(f"/api-keys/{key}/rotate", {"overlap_seconds": overlap_seconds}))


@api_keys.command("revoke")
def revoke_key(session: Session, key: str, yes: Yes = False) -> None:
    """Stop a key at once."""
    session.confirm(f"Revoke {key}? Whoever uses it is refused within seconds.", yes=yes)
    session.show(session.call("DELETE", f"/api-keys/{key}"), f"Revoked {key}.")


def _name(session: Session, given: str, project: str | None) -> str:
    """The name of an endpoint, which is what a key is for. Fails if there is no such endpoint."""
    return str(session.get(f"/endpoints/{session.endpoint(given, project)}")["name"])


def show_once(session: Session, made: Object) -> None:
    """A repeated request replays everything but the secret."""
    session.show(made, "Keep the key now: it is not shown again." if made.get("key") else _LOST)
