"""Webhooks and their deliveries."""

from __future__ import annotations

from typing import Annotated

import typer

from slipstream_cli.command import Group, Limit, Organization, Yes
from slipstream_cli.session import Session

app = Group("webhooks", "Webhooks: what happens here, told to your own service.")

Events = Annotated[list[str] | None, typer.Option("--event", help="Type of event; may be repeated.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@app.command("list")
def list_webhooks(session: Session, organization: Organization = None, limit: Limit = 20) -> None:
    """The webhooks of an organization, or all that you see."""
    chosen = session.organization(organization) if organization else None
    found = session.page("/webhooks", limit=limit, organization_id=chosen)
    session.show_page(found, ("id", "url", "event_types", "enabled", "disabled_reason", "failing_since"))


@app.command("create")
def create_webhook(
    session: Session,
    url: str,
    event: Annotated[list[str], typer.Option(help="Type of event; may be repeated.")],
    organization: Organization = None,
    description: Description = None,
) -> None:
    """Make a webhook. Its signing secret is shown this once."""
    body = {
        "organization_id": session.organization(organization),
        "url": url,
        "event_types": event,
        "description": description,
    }
    session.show(session.post("/webhooks", body), "Keep the secret now: it is not shown again.")


@app.command("show")
def show_webhook(session: Session, webhook: str) -> None:
    """One webhook (never its secret)."""
    session.show(session.get(f"/webhooks/{webhook}"))


@app.command("update")
def update_webhook(
    session: Session,
    webhook: str,
    url: Annotated[str | None, typer.Option()] = None,
    event: Events = None,
    description: Description = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
) -> None:
    """Change a webhook, or turn it on and off."""
    body = {"url": url, "event_types": event or None, "description": description, "enabled": enabled}
    session.show(session.call("PATCH", f"/webhooks/{webhook}", body))


@app.command("delete")
def delete_webhook(session: Session, webhook: str, yes: Yes = False) -> None:
    """Delete a webhook with its deliveries."""
    session.confirm(f"Delete {webhook}?", yes=yes)
    session.show(session.call("DELETE", f"/webhooks/{webhook}"), f"Deleted {webhook}.")


@app.command("rotate-secret")
def rotate_secret(
    session: Session,
    webhook: str,
    overlap_seconds: Annotated[int | None, typer.Option(min=0, help="How long the old secret still signs.")] = None,
) -> None:
    """Replace the signing secret; both sign during the overlap."""
    made = session.post(f"/webhooks/{webhook}/rotate-secret", {"overlap_seconds": overlap_seconds})
    session.show(made, "Keep the secret now: it is not shown again.")


@app.command("test")
def send_test(session: Session, webhook: str) -> None:
    """Send a test event."""
    session.show(session.post(f"/webhooks/{webhook}/test"))


@app.command("deliveries")
def list_deliveries(
    session: Session,
    webhook: Annotated[str | None, typer.Argument()] = None,
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    limit: Limit = 20,
) -> None:
    """Deliveries, newest first."""
    found = session.page("/webhook-deliveries", limit=limit, webhook_id=webhook, state=state)
    columns = ("id", "event_type", "state", "attempts", "next_attempt_at", "state_reason.message", "created_at")
    session.show_page(found, columns)


@app.command("delivery")
def show_delivery(session: Session, delivery: str) -> None:
    """One delivery with its attempts."""
    session.show(session.get(f"/webhook-deliveries/{delivery}"))


@app.command("replay")
def replay_delivery(session: Session, delivery: str) -> None:
    """Send a delivery's event again."""
    session.show(session.post(f"/webhook-deliveries/{delivery}/replay"))
