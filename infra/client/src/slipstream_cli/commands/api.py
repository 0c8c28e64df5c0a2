"""`slipstream api`: any operation, also one that has no command of its own."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from slipstream_cli import output
from slipstream_cli.command import Group
from slipstream_cli.exits import USAGE, CommandError
from slipstream_cli.session import Session


def register(top: Group) -> None:
    top.command("api")(api)


def api(
    session: Session,
    method: Annotated[str, typer.Argument(help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(help="Below /api/v1, e.g. /endpoints.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="The body, as JSON.")] = None,
    query: Annotated[list[str] | None, typer.Option("--query", "-q", help="name=value; may be repeated.")] = None,
    if_match: Annotated[str | None, typer.Option(help="The ETag that was read.")] = None,
) -> None:
    """Call any operation of the management API; prints its answer."""
    body: Any = None
    if data is not None:
        try:
            body = json.loads(data)
        except ValueError as error:
            raise CommandError(f"--data is not JSON: {error}", USAGE) from error
    pairs = [pair.partition("=") for pair in query or []]
    if any(not separator for _, separator, _ in pairs):
        raise CommandError("--query takes name=value.", USAGE)
    response = session.api.send(
        method.upper(),
        "/api/v1/" + path.removeprefix("/api/v1").lstrip("/"),
        params={name: value for name, _, value in pairs},
        headers={"If-Match": if_match} if if_match else None,
        json=body,
    )
    if "json" in response.headers.get("content-type", ""):
        output.print_json(response.json())
    elif response.content:
        print(response.text, end="")
