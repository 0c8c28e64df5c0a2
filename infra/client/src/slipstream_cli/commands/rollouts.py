"""Deployments of endpoints, and rollouts from one to the next."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli import output
from slipstream_cli.command import Group, Limit, Timeout, Wait, Yes
from slipstream_cli.commands.endpoints import Holdout, Lookahead, Mode
from slipstream_cli.exits import USAGE, CommandError
from slipstream_cli.session import Object, Session

app = Group("rollouts", "Rollouts: an endpoint's way from one deployment to the next.")
deployments = Group("deployments", "Deployments: the immutable specifications that an endpoint has had.")

_COLUMNS = ("id", "trigger", "strategy", "state", "step", "target_deployment_id", "state_reason.message", "created_at")
_ENDED = ("completed", "aborted", "failed")
Strategy = Annotated[str | None, typer.Option(help="immediate, rolling or canary; default: the service's choice.")]
Steps = Annotated[str | None, typer.Option(help="Shares of the requests in percent, e.g. 5,25,100.")]
Observe = Annotated[int | None, typer.Option(min=0, help="Seconds that each step is observed.")]
Requests = Annotated[int | None, typer.Option(min=0, help="Requests that each step must have seen.")]


def plan(
    strategy: str | None, steps: str | None = None, observe_seconds: int | None = None, min_requests: int | None = None
) -> Object | None:
    """The API's rollout plan; None leaves the choice to the service."""
    if strategy is None:
        if steps or observe_seconds is not None or min_requests is not None:
            raise CommandError("Steps and observation belong to a --strategy.", USAGE)
        return None
    try:
        percent = [float(step) for step in steps.split(",")] if steps else None
    except ValueError as error:
        raise CommandError("--steps takes numbers between commas, e.g. 5,25,100.", USAGE) from error
    found = {
        "strategy": strategy,
        "steps_percent": percent,
        "observe_seconds": observe_seconds,
        "min_requests": min_requests,
    }
    return {name: value for name, value in found.items() if value is not None}


@deployments.command("list")
def list_deployments(session: Session, endpoint: str, limit: Limit = 20) -> None:
    """An endpoint's deployments, newest first, with their shares of the requests."""
    found = session.page("/deployments", limit=limit, endpoint_id=session.endpoint(endpoint))
    policy = ("speculation_mode", "max_lookahead", "holdout_rate", "speculator_version_id")
    session.show_page(found, ("id", "number", "weight_percent", "active", *policy, "created_at"))


@deployments.command("show")
def show_deployment(session: Session, deployment: str) -> None:
    """One deployment."""
    session.show(session.get(f"/deployments/{deployment}"))


@app.command("list")
def list_rollouts(session: Session, endpoint: str, limit: Limit = 20) -> None:
    """An endpoint's rollouts, newest first."""
    session.show_page(session.page("/rollouts", limit=limit, endpoint_id=session.endpoint(endpoint)), _COLUMNS)


@app.command("start")
def start_rollout(
    session: Session,
    endpoint: str,
    strategy: Strategy = "canary",
    speculation_mode: Mode = None,
    max_lookahead: Lookahead = None,
    holdout_rate: Holdout = None,
    speculator_version: Annotated[str | None, typer.Option(help="This version instead of the promoted one.")] = None,
    steps: Steps = None,
    observe_seconds: Observe = None,
    min_requests: Requests = None,
    wait: Wait = False,
    timeout: Timeout = 3600,
) -> None:
    """Roll an endpoint out to a changed deployment; a canary that is worse is aborted by itself."""
    changes = {
        "speculation_mode": speculation_mode,
        "max_lookahead": max_lookahead,
        "holdout_rate": holdout_rate,
        "speculator_version_id": speculator_version,
    }
    body = {
        "endpoint_id": session.endpoint(endpoint),
        "deployment": {name: value for name, value in changes.items() if value is not None},
        "rollout": plan(strategy, steps, observe_seconds, min_requests),
    }
    show_when_completed(session, session.post("/rollouts", body), wait=wait, timeout=timeout)


@app.command("show")
def show_rollout(session: Session, rollout: str) -> None:
    """One rollout, with the evidence for and against the new deployment."""
    found = session.get(f"/rollouts/{rollout}")
    if session.as_json or found["evidence"] is None:
        session.show(found)
        return
    evidence = found.pop("evidence")
    session.show(found)
    counts = [{"deployment": side, **evidence[side]} for side in ("before", "after")]
    print()
    output.print_table(counts, ("deployment", "requests", "failed"))
    print()
    output.print_table(evidence["measures"], ("name", "before", "after", "change", "bound", "limit", "worse"))
    session.note(evidence["reason"])


@app.command("watch")
def watch_rollout(session: Session, rollout: str, timeout: Timeout = 3600) -> None:
    """Follow a rollout to its end."""
    session.show(session.wait(session.get(f"/rollouts/{rollout}"), _ENDED, timeout=timeout))


@app.command("pause")
def pause_rollout(session: Session, rollout: str) -> None:
    """Keep the shares as they are."""
    session.show(session.post(f"/rollouts/{rollout}/pause"))


@app.command("resume")
def resume_rollout(session: Session, rollout: str) -> None:
    """Go on with a paused rollout."""
    session.show(session.post(f"/rollouts/{rollout}/resume"))


@app.command("promote")
def promote_rollout(
    session: Session, rollout: str, yes: Yes = False, wait: Wait = False, timeout: Timeout = 600
) -> None:
    """Shift everything now, and observe no more."""
    session.confirm(f"Complete {rollout} without observing it further?", yes=yes)
    show_when_completed(session, session.post(f"/rollouts/{rollout}/promote"), wait=wait, timeout=timeout)


@app.command("abort")
def abort_rollout(
    session: Session,
    rollout: str,
    reason: Annotated[str | None, typer.Option(help="Kept with the event.")] = None,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> None:
    """Return all requests to the deployment before."""
    session.confirm(f"Abort {rollout}?", yes=yes)
    aborted = session.post(f"/rollouts/{rollout}/abort", {"reason": reason} if reason else {})
    session.show(session.wait(aborted, ("aborted",), timeout=timeout) if wait else aborted)


@app.command("events")
def list_events(session: Session, rollout: str, limit: Limit = 20) -> None:
    """What happened in a rollout, newest first."""
    columns = ("at", "from_state", "to_state", "code", "message", "actor")
    session.show_page(session.page(f"/rollouts/{rollout}/events", limit=limit), columns)


def show_when_completed(session: Session, rollout: Object, *, wait: bool, timeout: float) -> None:
    session.show(session.wait(rollout, ("completed",), timeout=timeout) if wait else rollout)
