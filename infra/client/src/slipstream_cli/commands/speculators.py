"""Speculators and their versions."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Project, Yes
from slipstream_cli.session import Session

app = Group("speculators", "Speculators: what learns from a project's traffic, in versions.")

_VERSIONS = ("id", "number", "state", "sample_count", "gate.reason", "promoted_at", "created_at")
_EVENTS = ("at", "from_state", "to_state", "code", "message", "actor")
Speculator = Annotated[str | None, typer.Argument(help="Id; default: the project's only one.")]


@app.command("list")
def list_speculators(session: Session, project: Project = None, limit: Limit = 20) -> None:
    """The speculators of a project, or all that you see."""
    found = session.page("/speculators", limit=limit, project_id=session.project(project) if project else None)
    session.show_page(found, ("id", "project_id", "model", "frozen", "active_version_id", "created_at"))


@app.command("show")
def show_speculator(session: Session, speculator: Speculator = None, project: Project = None) -> None:
    """One speculator."""
    session.show(session.get(f"/speculators/{session.speculator(speculator, project)}"))


@app.command("versions")
def list_versions(
    session: Session,
    speculator: Speculator = None,
    project: Project = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Limit = 20,
) -> None:
    """A speculator's versions, newest first, with what the gate said."""
    chosen = session.speculator(speculator, project)
    found = session.page("/speculator-versions", limit=limit, speculator_id=chosen, state=state)
    session.show_page(found, _VERSIONS)


@app.command("version")
def show_version(session: Session, version: str) -> None:
    """One version: digest, parent, data, evaluation, gate."""
    session.show(session.get(f"/speculator-versions/{version}"))


@app.command("events")
def list_version_events(session: Session, version: str, limit: Limit = 20) -> None:
    """What happened to a version, newest first."""
    session.show_page(session.page(f"/speculator-versions/{version}/events", limit=limit), _EVENTS)


@app.command("promote")
def promote_version(session: Session, version: str) -> None:
    """Make a version the live one."""
    session.show(session.post(f"/speculator-versions/{version}/promote"))


@app.command("pin")
def pin_version(session: Session, version: str) -> None:
    """Make a version the live one and keep it: the speculator is frozen."""
    session.show(session.post(f"/speculator-versions/{version}/pin"))


@app.command("rollback")
def rollback_speculator(
    session: Session,
    speculator: Speculator = None,
    project: Project = None,
    reason: Annotated[str | None, typer.Option(help="Kept with the event.")] = None,
    yes: Yes = False,
) -> None:
    """Return to the last good version before the live one; without one, to the static speculator."""
    chosen = session.speculator(speculator, project)
    session.confirm(f"Roll {chosen} back?", yes=yes)
    session.show(session.post(f"/speculators/{chosen}/rollback", {"reason": reason} if reason else {}))


@app.command("freeze")
def freeze_speculator(session: Session, speculator: Speculator = None, project: Project = None) -> None:
    """No training, no automatic promotion or rollback, until it is thawed."""
    session.show(session.post(f"/speculators/{session.speculator(speculator, project)}/freeze"))


@app.command("thaw")
def thaw_speculator(session: Session, speculator: Speculator = None, project: Project = None) -> None:
    """Let a frozen speculator learn again."""
    session.show(session.post(f"/speculators/{session.speculator(speculator, project)}/thaw"))
