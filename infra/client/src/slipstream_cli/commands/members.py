"""Members of an organization, invitations, and who may do what."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli import output
from slipstream_cli.command import Group, Limit, Organization, Yes
from slipstream_cli.session import Session

members = Group("members", "Members of an organization and their roles.")
invitations = Group("invitations", "Invitations into an organization.")

Role = Annotated[str, typer.Option(help="owner, admin, developer, billing or viewer.")]


@members.command("list")
def list_members(session: Session, organization: Organization = None, limit: Limit = 50) -> None:
    """The members of an organization."""
    found = session.page(f"/organizations/{session.organization(organization)}/members", limit=limit)
    session.show_page(found, ("id", "email", "name", "role", "created_at"))


@members.command("role")
def change_role(session: Session, member: str, role: str, organization: Organization = None) -> None:
    """Give a member another role: owner, admin, developer, billing or viewer."""
    path = f"/organizations/{session.organization(organization)}/members/{member}"
    session.show(session.call("PATCH", path, {"role": role}))


@members.command("remove")
def remove_member(session: Session, member: str, organization: Organization = None, yes: Yes = False) -> None:
    """Take a member out of the organization."""
    session.confirm(f"Remove {member}?", yes=yes)
    path = f"/organizations/{session.organization(organization)}/members/{member}"
    session.show(session.call("DELETE", path), f"Removed {member}.")


@members.command("permissions")
def list_permissions(session: Session) -> None:
    """What each role may do."""
    found = session.get("/permissions")
    if session.as_json:
        output.print_json(found)
    else:
        output.print_table(found["data"], ("permission", "roles"))


@invitations.command("list")
def list_invitations(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """The invitations of an organization, newest first."""
    found = session.page(f"/organizations/{session.organization(organization)}/invitations", limit=limit)
    session.show_page(found, ("id", "email", "role", "state", "invited_by", "sent_at", "expires_at"))


@invitations.command("create")
def invite(session: Session, email: str, role: Role = "developer", organization: Organization = None) -> None:
    """Invite somebody by mail; the invitation holds for some days and once."""
    path = f"/organizations/{session.organization(organization)}/invitations"
    session.show(session.post(path, {"email": email, "role": role}))


@invitations.command("resend")
def resend_invitation(session: Session, invitation: str, organization: Organization = None) -> None:
    """Mail an invitation again, with a new token; the old one stops working."""
    path = f"/organizations/{session.organization(organization)}/invitations/{invitation}"
    session.show(session.post(f"{path}/resend"))


@invitations.command("accept")
def accept_invitation(session: Session, link: str) -> None:
    """Join an organization with the link (or its last part) from the mail."""
    session.show(session.post("/invitations/accept", {"token": link.rstrip("/").rpartition("/")[2]}))


@invitations.command("revoke")
def revoke_invitation(session: Session, invitation: str, organization: Organization = None) -> None:
    """Withdraw an invitation."""
    path = f"/organizations/{session.organization(organization)}/invitations/{invitation}"
    session.show(session.call("DELETE", path))
