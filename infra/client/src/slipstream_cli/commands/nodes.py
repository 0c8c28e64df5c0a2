"""Nodes: for the operators of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli import output
from slipstream_cli.command import Group, Limit, Timeout, Wait, Yes
from slipstream_cli.session import Session

app = Group("nodes", "Nodes: for the operators of the service.")
tokens = Group("node-tokens", "One-time tokens that nodes register with: for operators.")

_COLUMNS = ("id", "name", "state", "model", "address", "placed_projects", "max_projects", "running_requests")


@app.command("list")
def list_nodes(session: Session, limit: Limit = 50) -> None:
    """The nodes."""
    session.show_page(session.page("/nodes", limit=limit), (*_COLUMNS, "last_seen_at"))


@app.command("show")
def show_node(session: Session, node: str) -> None:
    """One node."""
    session.show(session.get(f"/nodes/{node}"))


@app.command("events")
def list_events(session: Session, node: str, limit: Limit = 20) -> None:
    """What happened to a node, newest first."""
    columns = ("at", "from_state", "to_state", "code", "message", "actor")
    session.show_page(session.page(f"/nodes/{node}/events", limit=limit), columns)


@app.command("placements")
def list_placements(session: Session, node: str, limit: Limit = 50) -> None:
    """The projects that are placed on a node."""
    found = session.page(f"/nodes/{node}/placements", limit=limit)
    session.show_page(found, ("project_id", "organization_id", "is_resident", "last_used_at", "leaving_since"))


@app.command("capacity")
def show_capacity(session: Session) -> None:
    """How full the nodes are, by model."""
    found = session.get("/capacity")
    if session.as_json:
        output.print_json(found)
    else:
        output.print_table(
            found["models"], ("model", "ready_nodes", "placed_projects", "max_projects", "adaptive_bytes", "nodes")
        )


@app.command("audit")
def list_operator_events(session: Session, limit: Limit = 20) -> None:
    """What operators did, newest first."""
    found = session.page("/operator-events", limit=limit)
    session.show_page(found, ("at", "actor", "action", "target", "changes"))


@app.command("cordon")
def cordon_node(session: Session, node: str) -> None:
    """Place nothing more on a node; what it serves stays."""
    session.show(session.post(f"/nodes/{node}/cordon"))


@app.command("uncordon")
def uncordon_node(session: Session, node: str) -> None:
    """Place projects on a node again."""
    session.show(session.post(f"/nodes/{node}/uncordon"))


@app.command("drain")
def drain_node(session: Session, node: str, yes: Yes = False, wait: Wait = False, timeout: Timeout = 1800) -> None:
    """Move everything away from a node; no request is dropped."""
    session.confirm(f"Drain {node}?", yes=yes)
    draining = session.post(f"/nodes/{node}/drain")
    session.show(session.wait(draining, ("drained",), timeout=timeout) if wait else draining)


@app.command("revoke-credential")
def revoke_credential(session: Session, node: str, yes: Yes = False) -> None:
    """Refuse a node from now on; it has to register again with a new token."""
    session.confirm(f"Revoke the credential of {node}?", yes=yes)
    session.show(session.post(f"/nodes/{node}/revoke-credential"))


@tokens.command("list")
def list_tokens(session: Session, limit: Limit = 20) -> None:
    """The tokens, newest first (never their text)."""
    found = session.page("/node-tokens", limit=limit)
    session.show_page(found, ("id", "state", "node_name", "model", "created_by", "expires_at", "used_by"))


@tokens.command("create")
def create_token(
    session: Session,
    node_name: Annotated[str | None, typer.Option(help="Only a node of this name may use it.")] = None,
    model: Annotated[str | None, typer.Option(help="Only a node that serves this model may use it.")] = None,
    valid_seconds: Annotated[int, typer.Option(min=1, max=86_400, help="How long it can be used.")] = 3600,
) -> None:
    """Make a token for one registration. It is shown this once."""
    body = {"node_name": node_name, "model": model, "valid_seconds": valid_seconds}
    session.show(session.post("/node-tokens", body), "Keep the token now: it is not shown again.")


@tokens.command("revoke")
def revoke_token(session: Session, token: str) -> None:
    """Withdraw a token that was not used."""
    session.show(session.call("DELETE", f"/node-tokens/{token}"), f"Revoked {token}.")
