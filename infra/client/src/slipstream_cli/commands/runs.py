"""Training runs."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Project, Timeout, Wait
from slipstream_cli.session import Object, Session
from slipstream_client.waiting import RESOURCES, is_final

app = Group("runs", "Training runs: how a speculator learns.")

_COLUMNS = ("id", "state", "trigger", "phase", "progress", "loss", "state_reason.message", "created_at")
_ENDED = RESOURCES["run"][1]


@app.command("list")
def list_runs(
    session: Session,
    project: Project = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Limit = 20,
) -> None:
    """Training runs, newest first."""
    chosen = session.project(project) if project else None
    session.show_page(session.page("/training-runs", limit=limit, project_id=chosen, state=state), _COLUMNS)


@app.command("estimate")
def estimate_run(
    session: Session,
    speculator: Annotated[str | None, typer.Argument(help="Id; default: the project's only one.")] = None,
    project: Project = None,
) -> None:
    """What a run would take now: records, seconds, price; and whether the day's quota allows it."""
    session.show(session.get(f"/speculators/{session.speculator(speculator, project)}/training-estimate"))


@app.command("start")
def start_run(
    session: Session,
    speculator: Annotated[str | None, typer.Argument(help="Id; default: the project's only one.")] = None,
    project: Project = None,
    wait: Wait = False,
    timeout: Timeout = 1800,
) -> None:
    """Ask for a run now, on the traffic that there is."""
    run = session.post("/training-runs", {"speculator_id": session.speculator(speculator, project)})
    session.show(session.wait(run, _ENDED, timeout=timeout) if wait else run)


@app.command("show")
def show_run(session: Session, run: str) -> None:
    """One run."""
    session.show(session.get(f"/training-runs/{run}"))


@app.command("watch")
def watch_run(
    session: Session,
    run: Annotated[str | None, typer.Argument(help="Id; default: the newest.")] = None,
    project: Project = None,
    timeout: Timeout = 1800,
) -> None:
    """Follow a run to its end: progress, loss, and the gate's decision."""
    session.show(session.wait(_run(session, run, project, timeout), _ENDED, timeout=timeout))


@app.command("cancel")
def cancel_run(session: Session, run: str, wait: Wait = False, timeout: Timeout = 120) -> None:
    """Stop a run; nothing of it goes live."""
    cancelled = session.post(f"/training-runs/{run}/cancel")
    session.show(session.wait(cancelled, _ENDED, timeout=timeout) if wait and not is_final(cancelled) else cancelled)


@app.command("events")
def list_events(session: Session, run: str, limit: Limit = 20) -> None:
    """What happened to a run, newest first."""
    columns = ("at", "from_state", "to_state", "code", "message", "actor")
    session.show_page(session.page(f"/training-runs/{run}/events", limit=limit), columns)


def _run(session: Session, run: str | None, project: str | None, timeout: float) -> Object:
    """The run, or the newest one of the project as soon as there is one."""
    if run is not None:
        return session.get(f"/training-runs/{run}")
    chosen = session.project(project)

    def newest() -> Object | None:
        return next(iter(session.page("/training-runs", limit=1, project_id=chosen)["data"]), None)

    return session.until("training run", newest, timeout=timeout)
