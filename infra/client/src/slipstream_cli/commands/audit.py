"""`slipstream audit`."""

from __future__ import annotations

from slipstream_cli.command import Group, Limit, Organization
from slipstream_cli.session import Session


def register(top: Group) -> None:
    top.command("audit")(audit)


def audit(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """Who did what, newest first."""
    chosen = session.organization(organization) if organization else None
    found = session.page("/audit-events", limit=limit, organization_id=chosen)
    session.show_page(found, ("at", "actor", "action", "target", "changes", "request_id"))
