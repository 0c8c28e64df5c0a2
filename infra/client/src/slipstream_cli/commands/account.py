"""`slipstream login`, `logout`, `whoami`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from slipstream_cli import credentials, output
from slipstream_cli.command import Group
from slipstream_cli.credentials import Profile
from slipstream_cli.exits import USAGE, CommandError
from slipstream_cli.session import Session
from slipstream_client.transport import Transport


def register(top: Group) -> None:
    top.command("login")(login)
    top.command("logout")(logout)
    top.command("whoami")(whoami)


def login(
    session: Session,
    url: Annotated[str | None, typer.Option(help="Address of the control plane.")] = None,
    inference_url: Annotated[str | None, typer.Option(help="Address of inference, ending in /v1.")] = None,
) -> None:
    """Store a service key (slm_…) that you paste, after trying it. Piped input is read as the key."""
    address = (url or session.profile.url).rstrip("/")
    key = (
        typer.prompt("Service key (slm_…)", hide_input=True, err=True) if _is_person() else sys.stdin.readline()
    ).strip()
    if not key.startswith("slm_"):
        raise CommandError(
            "A service key begins with slm_ (make one in the dashboard, or with an existing key).", USAGE
        )
    with Transport(key, address) as api:
        found = api.send("GET", "/api/v1/organizations").json()
    stored = Profile(url=address, api_key=key, inference_url=inference_url or session.profile.inference_url)
    place = credentials.save(session.profile_name, stored)
    session.show_page(found, ("id", "name", "created_at"))
    session.note(f"Signed in to {address}; stored in {place} as {session.profile_name!r}.")


def logout(session: Session) -> None:
    """Forget the profile's keys."""
    credentials.save(session.profile_name, Profile())
    session.show({}, f"Forgot {session.profile_name!r}.")


def whoami(session: Session) -> None:
    """Which service, which key, and what it sees."""
    found = session.get("/organizations")
    if session.as_json:
        output.print_json({"url": session.profile.url, "profile": session.profile_name, "organizations": found["data"]})
        return
    key = session.profile.api_key
    output.print_fields(
        {"service": session.profile.url, "profile": session.profile_name, "key": f"{key[:8]}…{key[-4:]}"}
    )
    session.show_page(found, ("id", "name", "created_at"))


def remember(session: Session, **changes: str) -> None:
    """Change the stored profile, not what variables said."""
    if session.dry_run:
        return
    credentials.save(session.profile_name, replace(credentials.load(session.profile_name), **changes))


def _is_person() -> bool:
    return sys.stdin.isatty()
