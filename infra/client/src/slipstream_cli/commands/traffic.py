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
    redaction: Annotated[
        str | None, typer.Option(help="Secrets and personal data: drop such records, mask these, or off.")
    ] = None,
    memory_scope: Annotated[
        str | None, typer.Option(help="Who shares what the memory learns: project, or end_user.")
    ] = None,
    stream_coalescing: Annotated[
        str | None, typer.Option(help="Parts of streams: none (as they come), tokens, or interval.")
    ] = None,
    coalesce_tokens: Annotated[int | None, typer.Option(min=2, help="Tokens in a part.")] = None,
    coalesce_milliseconds: Annotated[int | None, typer.Option(min=10, help="Time between parts.")] = None,
) -> None:
    """Give or withdraw the consent to train, and how content is treated; what isn't named stays as it is."""
    path = f"/projects/{session.project(project)}/traffic-policy"
    changes: Object = {
        "capture": capture,
        "sample_rate": sample_rate,
        "retention_days": retention_days,
        "redaction": redaction,
        "memory_scope": memory_scope,
        "stream_coalescing": stream_coalescing,
        "coalesce_tokens": coalesce_tokens,
        "coalesce_milliseconds": coalesce_milliseconds,
    }
    known = session.get(path)
    body = {name: known[name] if value is None else value for name, value in changes.items()}
    session.show(session.call("PUT", path, body))


@app.command("delete")
def delete_traffic(
    session: Session,
    project: Project = None,
    end_user: Annotated[
        str | None, typer.Option(help="Only what this end user sent, as requests name it (`user`).")
    ] = None,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = 300,
) -> None:
    """Delete kept traffic; versions that learned from it are retired. Prints the receipt."""
    chosen = session.project(project)
    whose = "all traffic" if end_user is None else "an end user's traffic"
    session.confirm(f"Delete {whose} of {chosen}, and retire what learned from it?", yes=yes)
    if end_user is None:
        receipt = requested = session.call("DELETE", f"/projects/{chosen}/traffic")
    else:
        receipt = requested = session.call("POST", f"/projects/{chosen}/traffic-erasures", {"end_user": end_user})
    if wait and not session.dry_run:
        receipt = session.until("deletion", lambda: _completed(session, chosen, requested), timeout=timeout)
    session.show(receipt)


@app.command("export")
def export_traffic(
    session: Session,
    project: Project = None,
    end_user_id: Annotated[
        str | None, typer.Option(help="Only this end user's: the id in `x-slipstream-end-user` of answers.")
    ] = None,
) -> None:
    """What is kept, as JSON Lines on standard output: all of it, in parts."""
    path = f"/api/v1/projects/{session.project(project)}/traffic-export"
    params = {"end_user_id": end_user_id} if end_user_id else {}
    after: str | None = "0"
    while after is not None:
        answer = session.api.send("GET", path, params={**params, "after": after})
        print(answer.text, end="")
        after = answer.headers.get("x-slipstream-next-after")


@app.command("receipts")
def list_receipts(session: Session, project: Project = None, limit: Limit = 20) -> None:
    """Receipts of deletions, newest first."""
    found = session.page(f"/projects/{session.project(project)}/traffic-erasures", limit=limit)
    columns = (
        "id", "end_user_id", "requested_at", "completed_at", "requested_by", "num_records", "num_objects",
        "retired_versions",
    )  # fmt: skip
    session.show_page(found, columns)


def _completed(session: Session, project: str, receipt: Object) -> Object | None:
    found = session.page(f"/projects/{project}/traffic-erasures", limit=100)["data"]
    return next((item for item in found if item["id"] == receipt["id"] and item["completed_at"]), None)
