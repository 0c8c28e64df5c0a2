"""The audit log."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Organization
from slipstream_cli.exits import CONFLICT, CommandError
from slipstream_cli.session import Session

app = Group("audit", "The audit log: who did what; append-only and hash-chained.")

Actor = Annotated[str | None, typer.Option(help="Only what this person or key did.")]
Action = Annotated[str | None, typer.Option(help="Only this action, e.g. endpoint.create.")]
Target = Annotated[str | None, typer.Option(help="Only what was done to this object.")]
Start = Annotated[str | None, typer.Option(help="RFC 3339.")]
End = Annotated[str | None, typer.Option(help="RFC 3339, exclusive.")]


@app.command("list")
def list_events(
    session: Session,
    organization: Organization = None,
    actor: Actor = None,
    action: Action = None,
    target: Target = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
) -> None:
    """Who did what, newest first."""
    found = session.page(
        "/audit-events",
        limit=limit,
        organization_id=session.organization(organization) if organization else None,
        actor=actor,
        action=action,
        target=target,
        start=start,
        end=end,
    )
    session.show_page(found, ("at", "actor", "action", "target", "changes", "request_id"))


@app.command("export")
def export_events(
    session: Session,
    organization: Organization = None,
    format: Annotated[str, typer.Option(help="jsonl or csv.")] = "jsonl",
    start: Start = None,
    end: End = None,
    after_number: Annotated[int | None, typer.Option(help="Number of the last event that you have.")] = None,
) -> None:
    """The log as a file, on standard output, oldest first; up to 10,000 events at a time."""
    params = {
        "organization_id": session.organization(organization),
        "format": format,
        "start": start,
        "end": end,
        "after_number": after_number,
    }
    given = {name: value for name, value in params.items() if value is not None}
    print(session.api.send("GET", "/api/v1/audit-events/export", params=given).text, end="")


@app.command("verify")
def verify_events(session: Session, organization: Organization = None) -> None:
    """Whether the hash chain is whole; exit status 5 if it is not."""
    chosen = session.organization(organization)
    checked, after = 0, 0
    while True:  # the service checks a stretch at a time
        found = session.get("/audit-events/verification", organization_id=chosen, after_number=after)
        checked += found["checked"]
        if found["next_after_number"] is None:
            break
        after = found["next_after_number"]
    session.show({**found, "checked": checked})
    if not found["whole"]:
        raise CommandError("The hash chain is broken.", CONFLICT)
