"""`slipstream sign-up`, `login`, `logout`, `whoami`: a terminal keeps a service key, never a password."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from slipstream_cli import credentials, output
from slipstream_cli.command import Group
from slipstream_cli.credentials import Profile
from slipstream_cli.exits import DENIED, USAGE, CommandError
from slipstream_cli.person import Person
from slipstream_cli.session import Object, Session
from slipstream_client.errors import NotAuthenticated, NotFound
from slipstream_client.transport import Transport

Url = Annotated[str | None, typer.Option(help="Address of the control plane.")]
InferenceUrl = Annotated[str | None, typer.Option(help="Address of inference, ending in /v1.")]
Role = Annotated[str, typer.Option(help="What the key may do: owner, admin, developer, billing or viewer.")]
Days = Annotated[int, typer.Option(min=1, max=365, help="Days until the key expires.")]


def register(top: Group) -> None:
    top.command("sign-up")(sign_up)
    top.command("login")(login)
    top.command("logout")(logout)
    top.command("whoami")(whoami)


def sign_up(
    session: Session,
    email: Annotated[str, typer.Option(prompt="E-mail", help="Your address; a code is mailed to it.")],
    organization: Annotated[str, typer.Option(prompt="Organization", help="Name of the organization to found.")],
    url: Url = None,
    inference_url: InferenceUrl = None,
    role: Role = "owner",
    days: Days = 90,
) -> None:
    """Make an account and found an organization; this terminal gets a service key of its own."""
    address = _address(session, url)
    with Person(address) as person:
        person.sign_up(email, _ask)
        with person.api() as api:
            founded = api.send("POST", "/api/v1/organizations", json={"name": organization}).json()
            _keep_a_key(session, api, founded, inference_url, role=role, days=days)


def login(
    session: Session,
    email: Annotated[str | None, typer.Option(help="Sign in with your password; without it, paste a key.")] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", "-o", help="Id or name; default: the only one.")
    ] = None,
    url: Url = None,
    inference_url: InferenceUrl = None,
    role: Role = "admin",
    days: Days = 90,
    as_person: Annotated[
        bool, typer.Option("--as-person", help="Keep your session, not a key: the service's operators are people.")
    ] = False,
) -> None:
    """Store a service key: one that you paste, or a new one of this terminal's own (with --email)."""
    if as_person and email is None:
        raise CommandError("--as-person needs --email.", USAGE)
    address = _address(session, url)
    if email is None:
        _keep_a_pasted_key(session, address, inference_url)
        return
    with Person(address) as person:
        person.sign_in(email, _ask)
        if as_person:
            _store(session, Profile(url=address, session_token=person.keep()), inference_url)
            session.show({}, "Some acts ask for a fresh sign-in. `slipstream logout` ends the session.")
            return
        with person.api() as api:
            myself = Session(api, session.profile_name, replace(session.profile, organization=""), session.as_json)
            chosen = myself.get(f"/organizations/{myself.organization(organization)}")
            _keep_a_key(session, api, chosen, inference_url, role=role, days=days)


def logout(session: Session) -> None:
    """Forget the profile; revoke the key if this terminal made it, end the session if it kept one."""
    stored = credentials.load(session.profile_name)
    if stored.session_token:
        with Person(stored.url, stored.session_token):
            session.note("Ended the session.")
    if stored.api_key_id:
        with Transport(stored.api_key, stored.url) as api:
            try:
                api.send("DELETE", f"/api/v1/service-keys/{stored.api_key_id}")
                session.note(f"Revoked {stored.api_key_id}.")
            except (NotAuthenticated, NotFound):
                session.note(f"{stored.api_key_id} was revoked before.")
    credentials.save(session.profile_name, Profile())
    session.show({}, f"Forgot {session.profile_name!r}.")


def whoami(session: Session) -> None:
    """Which service, which key, and what it sees."""
    found = session.get("/organizations")
    if session.as_json:
        output.print_json({"url": session.profile.url, "profile": session.profile_name, "organizations": found["data"]})
        return
    key = session.profile.api_key
    by = f"key {key[:8]}…{key[-4:]}" if key else "a person's session"
    shown = {"service": session.profile.url, "profile": session.profile_name, "signed in by": by}
    output.print_fields(shown)
    session.show_page(found, ("id", "name", "created_at"))


def remember(session: Session, **changes: str) -> None:
    """Change the stored profile, not what variables said."""
    if not session.dry_run:
        credentials.save(session.profile_name, replace(credentials.load(session.profile_name), **changes))


def _keep_a_key(
    session: Session, api: Transport, organization: Object, inference_url: str | None, *, role: str, days: int
) -> None:
    """A key of this terminal's own: named after it, so that it can be told from others and revoked from anywhere."""
    expires = datetime.now(UTC) + timedelta(days=days)
    body = {
        "organization_id": organization["id"],
        "name": f"slipstream on {socket.gethostname()}"[:120],
        "role": role,
        "expires_at": expires.isoformat(timespec="seconds"),
    }
    made = api.send("POST", "/api/v1/service-keys", json=body).json()
    if not made["key"]:
        raise CommandError(f"The key {made['id']} was made, but its text was lost on the way: try again.")
    stored = Profile(url=api.base_url, api_key=made["key"], api_key_id=made["id"], organization=str(organization["id"]))
    _store(session, stored, inference_url)
    session.show(organization, f"This terminal has a service key ({role}, until {expires:%Y-%m-%d}): {made['id']}.")


def _keep_a_pasted_key(session: Session, address: str, inference_url: str | None) -> None:
    key = _ask("Service key (slm_…)", True)
    if not key.startswith("slm_"):
        raise CommandError("A service key begins with slm_: make one in the dashboard, or sign in with --email.", USAGE)
    with Transport(key, address) as api:
        found = api.send("GET", "/api/v1/organizations").json()
    only = found["data"][0]["id"] if len(found["data"]) == 1 else ""
    _store(session, Profile(url=address, api_key=key, organization=only), inference_url)
    session.show_page(found, ("id", "name", "created_at"))


def _store(session: Session, profile: Profile, inference_url: str | None) -> None:
    stored = replace(profile, inference_url=inference_url or session.profile.inference_url)
    place = credentials.save(session.profile_name, stored)
    session.note(f"Signed in to {stored.url}; stored in {place} as {session.profile_name!r}.")


def _address(session: Session, url: str | None) -> str:
    return (url or session.profile.url).rstrip("/")


def _ask(question: str, hidden: bool) -> str:
    """From the terminal, or a line of standard input where there is none."""
    if sys.stdin.isatty():
        return str(typer.prompt(question, hide_input=hidden, err=True)).strip()
    output.note(f"{question}:")
    line = sys.stdin.readline().strip()
    if not line:
        raise CommandError(f"{question}: nothing was given.", DENIED)
    return line
