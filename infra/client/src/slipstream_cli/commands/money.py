"""`slipstream usage`, `statement`, `prices`."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli import output
from slipstream_cli.command import Group, Limit, Organization, Project
from slipstream_cli.session import Session

_SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "steps", "drafted", "accepted")


def register(top: Group) -> None:
    top.command("usage")(usage)
    top.command("statement")(statement)
    top.command("prices")(prices)


def usage(
    session: Session,
    organization: Organization = None,
    project: Project = None,
    group_by: Annotated[str, typer.Option(help="day, key, endpoint, model, project, status; comma-separated.")] = "day",
    start: Annotated[str | None, typer.Option(help="RFC 3339; default: the month's first moment.")] = None,
    end: Annotated[str | None, typer.Option(help="RFC 3339, exclusive; default: now.")] = None,
) -> None:
    """Requests and tokens, as counted by the engine."""
    report = session.get(
        "/usage",
        organization_id=session.organization(organization),
        project_id=session.project(project) if project else None,
        group_by=group_by,
        start=start,
        end=end,
    )
    named = {"key": "key_id", "endpoint": "endpoint_id", "project": "project_id"}
    session.show_page(report, (*(named.get(group, group) for group in report["group_by"]), *_SUMS))


def statement(
    session: Session,
    organization: Organization = None,
    month: Annotated[str | None, typer.Option(help="YYYY-MM; default: this month.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
) -> None:
    """What a month costs, line by line."""
    params = {"organization_id": session.organization(organization)} | ({"month": month} if month else {})
    if csv:
        print(session.api.send("GET", "/api/v1/statements", params={**params, "format": "csv"}).text, end="")
        return
    found = session.get("/statements", **params)
    if session.as_json:
        output.print_json(found)
        return
    output.print_table(found["lines"], ("model", "kind", "quantity", "unit_price", "amount"))
    print(f"{found['month']}: {found['total']} {found['currency'].upper()} until {output.text_of(found['until'])}")


def prices(
    session: Session,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    limit: Limit = 20,
) -> None:
    """Token prices: micro-dollars per million tokens."""
    found = session.page("/prices", limit=limit, model=model)
    session.show_page(found, ("model", "effective_from", "prompt", "cached", "completion"))
