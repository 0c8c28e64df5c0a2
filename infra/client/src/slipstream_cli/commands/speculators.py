"""Speculators and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipstream_cli import output
from slipstream_cli.command import Group, Limit, Project, Yes
from slipstream_cli.download import download
from slipstream_cli.session import Object, Session

app = Group("speculators", "Speculators: what learns from a project's traffic, in versions.")

_VERSIONS = (
    *("id", "number", "state", "sample_count", "gate.outcome", "gate.gain", "gate.gain_lower_bound"),
    *("promoted_at", "created_at"),
)
_EVENTS = ("at", "from_state", "to_state", "code", "message", "actor")
Strategy = Annotated[str | None, typer.Option(help="immediate or canary.")]
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


@app.command("version-events")
def list_version_events(session: Session, version: str, limit: Limit = 20) -> None:
    """What happened to a version, newest first."""
    session.show_page(session.page(f"/speculator-versions/{version}/events", limit=limit), _EVENTS)


@app.command("events")
def list_events(session: Session, speculator: Speculator = None, project: Project = None, limit: Limit = 20) -> None:
    """How a speculator has adapted: trained, gated, promoted, regressed, rolled back, ..., newest first."""
    found = session.page(f"/speculators/{session.speculator(speculator, project)}/events", limit=limit)
    session.show_page(found, ("at", "kind", "message", "speculator_version_id", "training_run_id", "actor"))


@app.command("compare")
def compare_versions(
    session: Session,
    version: str,
    other: Annotated[str | None, typer.Argument(help="Default: the version's parent.")] = None,
) -> None:
    """Two versions side by side: evaluation with intervals, data, live acceptance."""
    found = session.get(f"/speculator-versions/{version}/compare", **{"with": other})
    if session.as_json:
        output.print_json(found)
        return
    sides = [side for side in (found["version"], found["other"]) if side]
    columns = ("number", "version_id", "state", "sample_count", "size_bytes", "gain_over_static")
    live = ("live.steps", "live.acceptance_length", "live.interval")
    output.print_table(sides, (*columns, *live))
    for side in sides:
        print()
        arms = [{"arm": arm, **figures} for arm, figures in side["evaluation"].items() if isinstance(figures, dict)]
        print(f"Evaluation of version {side['number']}:")
        output.print_table(arms, ("arm", *(name for name in arms[0] if name != "arm")) if arms else ("arm",))


@app.command("export")
def export_version(
    session: Session,
    version: str,
    out: Annotated[Path | None, typer.Option(help="Folder to download to; default: the version's id.")] = None,
) -> None:
    """Download a version: safetensors and the signed manifest, checked against their digests."""
    found = session.get(f"/speculator-versions/{version}/export")
    if not session.as_json:
        found = {**found, "files": [str(path) for path in download(found["files"], out or Path(version))]}
    session.show(found)


@app.command("policy")
def show_policy(session: Session, speculator: Speculator = None, project: Project = None) -> None:
    """When it trains, what the gate asks for, and who promotes."""
    session.show(session.get(f"/speculators/{session.speculator(speculator, project)}/policy"))


@app.command("set-policy")
def set_policy(
    session: Session,
    speculator: Speculator = None,
    project: Project = None,
    promotion: Annotated[str | None, typer.Option(help="auto or manual.")] = None,
    strategy: Strategy = None,
    min_gain: Annotated[float | None, typer.Option(help="Gain that a version must show.")] = None,
    confidence: Annotated[float | None, typer.Option(help="With this confidence.")] = None,
    min_heldout_records: Annotated[int | None, typer.Option(help="On at least so many held-out records.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Drop below its evaluation that rolls it back.")] = None,
    every_hours: Annotated[int | None, typer.Option(help="Train at least so often.")] = None,
) -> None:
    """Change a speculator's policy; what isn't named stays as it is."""
    path = f"/speculators/{session.speculator(speculator, project)}/policy"
    changes: Object = {
        "promotion": promotion,
        "strategy": strategy,
        "min_gain": min_gain,
        "confidence": confidence,
        "min_heldout_records": min_heldout_records,
        "max_drop": max_drop,
        "every_hours": every_hours,
    }
    known = session.get(path)
    session.show(session.call("PUT", path, {k: known[k] if v is None else v for k, v in changes.items()}))


@app.command("promote")
def promote_version(session: Session, version: str, strategy: Strategy = None) -> None:
    """Make a version the live one: at once, or on trial, as its speculator's policy says or --strategy."""
    body = {"rollout": {"strategy": strategy}} if strategy else {}
    session.show(session.post(f"/speculator-versions/{version}/promote", body))


@app.command("retire")
def retire_version(
    session: Session,
    version: str,
    reason: Annotated[str | None, typer.Option(help="Kept with the event.")] = None,
    yes: Yes = False,
) -> None:
    """Give a version up for good."""
    session.confirm(f"Retire {version}? It can't be promoted again.", yes=yes)
    session.show(session.post(f"/speculator-versions/{version}/retire", {"reason": reason}))


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
