"""Organizations and projects."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Organization
from slipstream_cli.commands.account import remember
from slipstream_cli.session import Session

organizations = Group("organizations", "Organizations: who pays, and who belongs to it.")
projects = Group("projects", "Projects: what isolates traffic, keys and speculators.")

Requests = Annotated[int | None, typer.Option(min=1, help="Requests per minute on each node.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Tokens per minute on each node.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Requests at the same time on each node.")]


@organizations.command("list")
def list_organizations(session: Session, limit: Limit = 20) -> None:
    """The organizations that you belong to."""
    session.show_page(session.page("/organizations", limit=limit), ("id", "name", "created_at"))


@organizations.command("create")
def create_organization(session: Session, name: str) -> None:
    """Found an organization; you become its owner. Only people can: a service key belongs to one already."""
    session.show(session.post("/organizations", {"name": name}))


@organizations.command("show")
def show_organization(session: Session, organization: Annotated[str | None, typer.Argument()] = None) -> None:
    """One organization."""
    session.show(session.get(f"/organizations/{session.organization(organization)}"))


@organizations.command("update")
def update_organization(
    session: Session,
    organization: Annotated[str | None, typer.Argument()] = None,
    name: Annotated[str | None, typer.Option()] = None,
    requires_second_factor: Annotated[
        bool | None, typer.Option("--require-second-factor/--no-require-second-factor", help="Of every member.")
    ] = None,
) -> None:
    """Change an organization's name, or what it asks of its members."""
    body = {"name": name, "requires_second_factor": requires_second_factor}
    session.show(session.call("PATCH", f"/organizations/{session.organization(organization)}", body))


@projects.command("list")
def list_projects(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """The projects of an organization, or all that you see."""
    chosen = session.organization(organization) if organization else None
    found = session.page("/projects", limit=limit, organization_id=chosen)
    session.show_page(found, ("id", "name", "requests_per_minute", "tokens_per_minute", "created_at"))


@projects.command("create")
def create_project(
    session: Session,
    name: str,
    organization: Organization = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    max_concurrent_requests: Concurrent = None,
    use: Annotated[bool, typer.Option("--use", help="Remember it as the profile's project.")] = False,
) -> None:
    """Make a project."""
    body = {
        "organization_id": session.organization(organization),
        "name": name,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "max_concurrent_requests": max_concurrent_requests,
    }
    made = session.post("/projects", body)
    session.show(made)
    if use:
        remember(session, project=str(made["id"]))


@projects.command("show")
def show_project(session: Session, project: Annotated[str | None, typer.Argument()] = None) -> None:
    """One project and its limits."""
    session.show(session.get(f"/projects/{session.project(project)}"))


@projects.command("update")
def update_project(
    session: Session,
    project: Annotated[str | None, typer.Argument()] = None,
    name: Annotated[str | None, typer.Option()] = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    max_concurrent_requests: Concurrent = None,
) -> None:
    """Change a project's name or limits."""
    body = {
        "name": name,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "max_concurrent_requests": max_concurrent_requests,
    }
    session.show(session.call("PATCH", f"/projects/{session.project(project)}", body))


@projects.command("use")
def use_project(session: Session, project: str) -> None:
    """Remember a project for the commands to come."""
    found = session.get(f"/projects/{session.project(project)}")
    remember(session, project=str(found["id"]), organization=str(found["organization_id"]))
    session.show(found)
