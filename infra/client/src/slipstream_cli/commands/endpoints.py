"""Endpoints and the model catalogue."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from slipstream_cli import output
from slipstream_cli.command import Group, Limit, Project, Timeout, Wait, Yes
from slipstream_cli.session import Object, Session
from slipstream_client.waiting import POLL_SECONDS, is_final

app = Group("endpoints", "Endpoints: what clients call by name.")
models = Group("models", "The catalogue of target models.")

_COLUMNS = ("id", "name", "state", "desired_state", "model", "speculation_mode", "state_reason.message")
_EVENTS = ("at", "from_state", "to_state", "code", "message", "actor")
Strategy = Annotated[str | None, typer.Option(help="How to roll the change out: immediate, rolling or canary.")]
Mode = Annotated[str | None, typer.Option(help="off, static or adaptive.")]
Lookahead = Annotated[int | None, typer.Option(min=0, max=16, help="Most tokens drafted in a step.")]
Least = Annotated[int | None, typer.Option(min=1, max=16, help="Ready nodes below which it is degraded.")]
Most = Annotated[int | None, typer.Option(min=1, max=16, help="Nodes that it is placed on, where there is room.")]
Holdout = Annotated[float | None, typer.Option(min=0, max=1, help="Share of requests kept static, to compare.")]


@models.command("list")
def list_models(session: Session) -> None:
    """Models that an endpoint can serve, what is free for them now, and their prices (micro-dollars per million)."""
    free = ("availability.ready_nodes", "availability.free_projects")
    columns = ("id", "hardware", "context_length", *free, "price.prompt", "price.cached", "price.completion")
    session.show_page(session.get("/models"), columns)


@models.command("show")
def show_model(session: Session, model: str) -> None:
    """One model."""
    session.show(session.get(f"/models/{model}"))


@models.command("hardware")
def list_hardware(session: Session) -> None:
    """Kinds of hardware, what runs on them, and what is free now."""
    free = ("availability.ready_nodes", "availability.free_projects")
    session.show_page(session.get("/hardware"), ("id", "engines", "models", *free))


@models.command("estimate")
def estimate_cost(
    session: Session,
    model: str,
    requests: Annotated[int, typer.Option(min=0, help="How many.")],
    prompt_tokens: Annotated[int, typer.Option(min=0, help="Of one request.")],
    completion_tokens: Annotated[int, typer.Option(min=0, help="Of one request.")],
    cached_tokens: Annotated[int, typer.Option(min=0, help="Of the prompt's, from the prefix cache.")] = 0,
    training_seconds: Annotated[int, typer.Option(min=0, help="Of training processes.")] = 0,
) -> None:
    """What a load would cost by the prices in force, before anything is started."""
    body = {
        "model": model,
        "requests": requests,
        "prompt_tokens": prompt_tokens,
        "cached_tokens": cached_tokens,
        "completion_tokens": completion_tokens,
        "training_seconds": training_seconds,
    }
    found = session.post("/cost-estimates", body)
    if session.as_json:
        output.print_json(found)
        return
    output.print_table(found["lines"], ("kind", "quantity", "unit_price", "amount_pico_dollars", "amount_cents"))
    print(f"\nTotal: {found['total_cents']} cents, exactly {found['total_pico_dollars']} pico-dollars\n")
    for assumption in found["assumptions"]:
        print(f"- {assumption}")


@app.command("list")
def list_endpoints(
    session: Session,
    project: Project = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that can be brought back.")] = False,
    limit: Limit = 20,
) -> None:
    """The endpoints of a project, or all that you see."""
    chosen = session.project(project) if project else None
    found = session.page("/endpoints", limit=limit, project_id=chosen, deleted="true" if deleted else None)
    session.show_page(found, (*_COLUMNS, "undelete_until") if deleted else _COLUMNS)


@app.command("create")
def create_endpoint(
    session: Session,
    name: Annotated[str, typer.Argument(help="What clients send as `model`.")],
    model: Annotated[str, typer.Option(help="Id of a model of the catalogue.")],
    project: Project = None,
    speculation_mode: Mode = None,
    max_lookahead: Lookahead = None,
    holdout_rate: Holdout = None,
    min_replicas: Least = None,
    max_replicas: Most = None,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> None:
    """Make an endpoint; it starts by itself."""
    body = {
        "project_id": session.project(project),
        "name": name,
        "model": model,
        "speculation_mode": speculation_mode,
        "max_lookahead": max_lookahead,
        "holdout_rate": holdout_rate,
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
    }
    _show_when(session, session.post("/endpoints", body), "ready", wait=wait, timeout=timeout)


@app.command("show")
def show_endpoint(session: Session, endpoint: str) -> None:
    """One endpoint."""
    session.show(_read(session, endpoint))


@app.command("update")
def update_endpoint(
    session: Session,
    endpoint: str,
    speculation_mode: Mode = None,
    max_lookahead: Lookahead = None,
    holdout_rate: Holdout = None,
    min_replicas: Least = None,
    max_replicas: Most = None,
    strategy: Strategy = None,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> None:
    """Change the policy (by a rollout) or the replicas, unless somebody else changed the endpoint meanwhile."""
    found = _read(session, endpoint)
    body = {
        "speculation_mode": speculation_mode,
        "max_lookahead": max_lookahead,
        "holdout_rate": holdout_rate,
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
        "rollout": {"strategy": strategy} if strategy else None,
    }
    changed = session.call("PATCH", f"/endpoints/{found['id']}", body, headers={"If-Match": str(found["etag"])})
    _show_when(session, changed, "ready", wait=wait, timeout=timeout)


@app.command("start")
def start_endpoint(session: Session, endpoint: str, wait: Wait = False, timeout: Timeout = 600) -> None:
    """Start a stopped endpoint."""
    started = session.post(f"/endpoints/{session.endpoint(endpoint)}/start")
    _show_when(session, started, "ready", wait=wait, timeout=timeout)


@app.command("stop")
def stop_endpoint(session: Session, endpoint: str, wait: Wait = False, timeout: Timeout = 600) -> None:
    """Stop an endpoint; requests that run are finished."""
    stopped = session.post(f"/endpoints/{session.endpoint(endpoint)}/stop")
    _show_when(session, stopped, "stopped", wait=wait, timeout=timeout)


@app.command("delete")
def delete_endpoint(
    session: Session, endpoint: str, yes: Yes = False, wait: Wait = False, timeout: Timeout = 600
) -> None:
    """Delete an endpoint."""
    found = session.endpoint(endpoint)
    session.confirm(f"Delete {endpoint}? Clients that call it are refused.", yes=yes)
    _show_when(session, session.call("DELETE", f"/endpoints/{found}"), "deleted", wait=wait, timeout=timeout)


@app.command("undelete")
def undelete_endpoint(
    session: Session,
    endpoint: str,
    name: Annotated[str | None, typer.Option(help="A new name, where the old one is taken.")] = None,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> None:
    """Bring a deleted endpoint back, by its id: see `endpoints list --deleted`."""
    found = session.post(f"/endpoints/{endpoint}/undelete", {"name": name})
    state = "ready" if found["desired_state"] == "running" else "stopped"
    _show_when(session, found, state, wait=wait, timeout=timeout)


@app.command("rollback")
def rollback_endpoint(
    session: Session, endpoint: str, yes: Yes = False, wait: Wait = False, timeout: Timeout = 600
) -> None:
    """Abort the open rollout; without one, return to the deployment before the present one."""
    chosen = session.endpoint(endpoint)
    session.confirm(f"Roll {endpoint} back?", yes=yes)
    found = session.post(f"/endpoints/{chosen}/rollback")
    state = "completed" if found["trigger"] == "rollback" else "aborted"
    _show_when(session, found, state, wait=wait, timeout=timeout)


@app.command("events")
def list_events(session: Session, endpoint: str, limit: Limit = 20) -> None:
    """What happened to an endpoint, newest first."""
    session.show_page(session.page(f"/endpoints/{session.endpoint(endpoint)}/events", limit=limit), _EVENTS)


@app.command("watch")
def watch_endpoint(session: Session, endpoint: str) -> None:
    """Print each change of an endpoint's state as it comes; Ctrl-C ends it."""
    path = f"/endpoints/{session.endpoint(endpoint)}"
    shown = ""
    while True:
        found = session.get(path)
        line = f"{found['state_changed_at']} {found['state']}: {found['state_reason']['message']}"
        if line != shown:
            shown = line
            output.print_json(found) if session.as_json else print(line, flush=True)
        if found["state"] == "deleted" and is_final(found):
            return
        time.sleep(POLL_SECONDS)


def _read(session: Session, endpoint: str) -> Object:
    return session.get(f"/endpoints/{session.endpoint(endpoint)}")


def _show_when(session: Session, found: Object, state: str, *, wait: bool, timeout: float) -> None:
    session.show(session.wait(found, (state,), timeout=timeout) if wait else found)
