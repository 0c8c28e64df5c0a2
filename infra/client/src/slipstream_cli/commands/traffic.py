"""Consent, kept traffic, and its deletion."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Project, Timeout, Wait, Yes
from slipstream_cli.session import Object, Session

app = Group("traffic", "Traffic that a project lets the service keep, and what becomes of it.")


@app.command("show")
def show_traffic(session: Session, project: Project = None) -> None:
    """How much is kept."""
    session.show(session.get(f"/projects/{session.project(project)}/traffic"))


@app.command("policy")
def show_policy(session: Session, project: Project = None) -> None:
    """The project's consent."""
    session.show(session.get(f"/projects/{session.project(project)}/traffic-policy"))


@app.command("set")
def set_policy(
    session: Session,
    project: Project = None,
    capture: Annotated[bool | None, typer.Option(help="May requests be kept for training?")] = None,
    sample_rate: Annotated[float | None, typer.Option(min=0, max=1, help="Share of requests that is kept.")] = None,
    retention_days: Annotated[int | None, typer.Option(min=1, help="Days after which it is deleted.")] = None,
) -> None:
    """Give or withdraw the consent to train; what isn't named stays as it is."""
    path = f"/projects/{session.project(project)}/traffic-policy"
    changes: Object = {"capture": capture, "sample_rate": sample_rate, "retention_days": retention_days}
    known = session.get(path)
    body = {name: known[name] if value is None else value for name, value in changes.items()}
    session.show(session.call("PUT", path, body))


@app.command("delete")
def delete_traffic(
    session: Session, project: Project = None, yes: Yes = False, wait: Wait = False, timeout: Timeout = 300
) -> None:
    """Delete all kept traffic; versions that learned from it are retired. Prints the receipt."""
    chosen = session.project(project)
    session.confirm(f"Delete all traffic of {chosen}, and retire what learned from it?", yes=yes)
    receipt = requested = session.call("DELETE", f"/projects/{chosen}/traffic")
    if wait and not session.dry_run:
        receipt = session.until("deletion", lambda: _completed(session, chosen, requested), timeout=timeout)
    session.show(receipt)


@app.command("receipts")
def list_receipts(session: Session, project: Project = None, limit: Limit = 20) -> None:
    """Receipts of deletions, newest first."""
    found = session.page(f"/projects/{session.project(project)}/traffic-erasures", limit=limit)
    columns = ("id", "requested_at", "completed_at", "requested_by", "num_records", "num_objects", "retired_versions")
    session.show_page(found, columns)


def _completed(session: Session, project: str, receipt: Object) -> Object | None:
    found = session.page(f"/projects/{project}/traffic-erasures", limit=100)["data"]
    return next((item for item in found if item["id"] == receipt["id"] and item["completed_at"]), None)
