"""Changing webhooks, and asking for a delivery. Every change is audited in its own transaction."""

from __future__ import annotations

import base64
import re
import secrets
from datetime import timedelta
from typing import Any

import httpx
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict, Invalid
from control_plane.common.ids import new_id
from control_plane.common.sealing import seal
from control_plane.common.states import record_event, transition
from control_plane.tenants import audit
from control_plane.tenants.models import Organization
from control_plane.webhooks import sources
from control_plane.webhooks.guard import is_public
from control_plane.webhooks.models import DeliveryState, Webhook, WebhookDelivery

MAX_WEBHOOKS = 20  # of one organization
_NAME = re.compile(rb"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
MUTABLE = ("url", "description", "event_types", "enabled")


@transaction.atomic
def create_webhook(
    organization: Organization,
    *,
    url: str,
    event_types: list[str],
    actor: str,
    description: str = "",
    request_id: str = "",
) -> tuple[Webhook, str]:
    """The webhook and its signing secret, which is shown to nobody afterwards."""
    _check(url, event_types)
    Organization.objects.select_for_update().get(id=organization.id)  # two at once can't pass the limit
    if Webhook.objects.filter(organization=organization).count() >= MAX_WEBHOOKS:
        raise Conflict(f"An organization has at most {MAX_WEBHOOKS} webhooks.", code="too_many_webhooks")
    secret = _new_secret()
    webhook = Webhook.objects.create(
        organization=organization, url=url, description=description, event_types=event_types, secret=seal(secret)
    )
    _audit(webhook, "webhook.create", {"url": _shown(url), "event_types": event_types}, actor, request_id)
    return webhook, secret


@transaction.atomic
def update_webhook(webhook: Webhook, changes: dict[str, Any], *, actor: str, request_id: str = "") -> Webhook:
    """Enabling again also forgets why and since when it was failing."""
    locked = Webhook.objects.filter(organization=webhook.organization_id).select_for_update().get(pk=webhook.pk)
    before = {name: getattr(locked, name) for name in MUTABLE}
    difference = {name: value for name, value in changes.items() if name in MUTABLE and before[name] != value}
    if not difference:
        return locked
    _check(difference.get("url", locked.url), difference.get("event_types", locked.event_types))
    for name, value in difference.items():
        setattr(locked, name, value)
    if "enabled" in difference:
        locked.disabled_reason, locked.failing_since = "", None
    locked.save()
    shown = {
        name: [_shown(before[name]), _shown(value)] if name == "url" else [before[name], value]
        for name, value in difference.items()
    }
    _audit(locked, "webhook.update", shown, actor, request_id)
    return locked


@transaction.atomic
def delete_webhook(webhook: Webhook, *, actor: str, request_id: str = "") -> None:
    """Its log of deliveries goes with it."""
    _audit(webhook, "webhook.delete", {"url": _shown(webhook.url)}, actor, request_id)
    webhook.delete()


@transaction.atomic
def rotate_secret(webhook: Webhook, *, overlap_seconds: int, actor: str, request_id: str = "") -> tuple[Webhook, str]:
    """A new secret; for the overlap the old one signs too."""
    locked = Webhook.objects.filter(organization=webhook.organization_id).select_for_update().get(pk=webhook.pk)
    secret = _new_secret()
    locked.previous_secret = locked.secret if overlap_seconds else ""
    end = timezone.now() + timedelta(seconds=overlap_seconds)
    locked.previous_secret_expires_at = end if overlap_seconds else None
    locked.secret = seal(secret)
    locked.save(update_fields=["secret", "previous_secret", "previous_secret_expires_at"])
    _audit(locked, "webhook.rotate_secret", {"overlap_seconds": overlap_seconds}, actor, request_id)
    return locked, secret


@transaction.atomic
def send_test(webhook: Webhook, *, actor: str, request_id: str = "") -> WebhookDelivery:
    """Queue an event `webhook.test`. Raises Conflict for a disabled webhook: nothing is sent to it."""
    if not webhook.enabled:
        raise Conflict("The webhook is disabled.", code="webhook_disabled")
    data = {"id": webhook.id, "organization_id": webhook.organization_id, "actor": actor}
    made = create_delivery(webhook, new_id("evt"), sources.happening(sources.TEST_TYPE, timezone.now(), data))
    assert made is not None
    _audit(webhook, "webhook.test", {}, actor, request_id)
    return made


@transaction.atomic
def replay(delivery: WebhookDelivery, *, actor: str, request_id: str = "") -> WebhookDelivery:
    """Send an event again, with the same id and body. Raises Conflict while it is still being tried."""
    if not delivery.webhook.enabled:
        raise Conflict("The webhook is disabled.", code="webhook_disabled")
    again = transition(
        delivery,
        DeliveryState.PENDING,
        code="replayed",
        message="Replayed on request.",
        actor=actor,
        attempts=0,
        next_attempt_at=timezone.now(),
    )
    _audit(delivery.webhook, "webhook.replay", {"delivery": delivery.id}, actor, request_id)
    return again


def create_delivery(webhook: Webhook, event_id: str, happened: sources.Happening) -> WebhookDelivery | None:
    """None if the webhook has this event already."""
    made, created = WebhookDelivery.objects.get_or_create(
        organization_id=webhook.organization_id,
        webhook=webhook,
        event_id=event_id,
        defaults={"event_type": happened.type, "payload": happened.payload, "state": DeliveryState.PENDING},
    )
    if created:
        record_event(made, before="", code="created")
    return made if created else None


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def _check(url: str, event_types: list[str]) -> None:
    """Raises Invalid. What a name resolves to is checked when it is used: it may change at any time."""
    try:
        parts = httpx.URL(url)
        port = parts.port
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise Invalid("This is not a URL.", pointer="/url") from error
    allow_private = settings.SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE
    if parts.scheme not in (("https", "http") if allow_private else ("https",)) or not parts.host:
        raise Invalid("The URL must begin with https://.", pointer="/url", code="https_required")
    if not (_is_address(parts.host) or _NAME.match(parts.raw_host)):
        raise Invalid("This is not the name of a host.", pointer="/url")
    if parts.userinfo or parts.fragment or not (port is None or 0 < port < 65_536):
        raise Invalid("The URL may hold no user, password or fragment, and a port of 1 to 65535.", pointer="/url")
    if not allow_private and _is_address(parts.host) and not is_public(parts.host):
        raise Invalid("This address is not public.", pointer="/url", code="forbidden_address")
    for index, pattern in enumerate(event_types):
        if not sources.is_pattern(pattern):
            raise Invalid(f"No event is of the type {pattern!r}.", pointer=f"/event_types/{index}", code="unknown_type")


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _shown(url: str) -> str:
    """Where, without the path and query, which may hold the receiver's own secret."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}/…"


def _audit(webhook: Webhook, action: str, changes: dict[str, Any], actor: str, request_id: str) -> None:
    audit.record(
        webhook.organization_id,
        actor=actor,
        action=action,
        target=webhook.id,
        changes=changes,
        request_id=request_id,
    )
