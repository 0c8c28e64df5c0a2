"""Nodes: for the operators of the service."""

from __future__ import annotations

from slipstream_cli.command import Group, Limit
from slipstream_cli.session import Session

app = Group("nodes", "Nodes: for the operators of the service.")

_COLUMNS = ("id", "name", "state", "engine", "model", "address", "running_requests", "last_seen_at")


@app.command("list")
def list_nodes(session: Session, limit: Limit = 50) -> None:
    """The nodes."""
    session.show_page(session.page("/nodes", limit=limit), _COLUMNS)


@app.command("show")
def show_node(session: Session, node: str) -> None:
    """One node."""
    session.show(session.get(f"/nodes/{node}"))


@app.command("events")
def list_events(session: Session, node: str, limit: Limit = 20) -> None:
    """What happened to a node, newest first."""
    columns = ("at", "from_state", "to_state", "code", "message", "actor")
    session.show_page(session.page(f"/nodes/{node}/events", limit=limit), columns)
