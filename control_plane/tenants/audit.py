"""The append-only, hash-chained record of changes, one chain for each organization."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from control_plane.common.ids import decode
from control_plane.tenants.models import AuditEvent


@transaction.atomic
def record(
    organization_id: str,
    *,
    actor: str,
    action: str,
    target: str,
    changes: dict[str, Any] | None = None,
    request_id: str = "",
) -> AuditEvent:
    """Append an event in the transaction of the change.

    actor: typed id or `system`. action: `noun.verb`. changes: `{field: [before, after]}` or plain values; secrets
    never belong in it.
    """
    with connection.cursor() as cursor:  # one writer per chain until this transaction ends
        lock = decode("org", organization_id).int & 0x7FFF_FFFF_FFFF_FFFF
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
    previous = AuditEvent.objects.filter(organization_id=organization_id).order_by("-number").first()
    event = AuditEvent(
        organization_id=organization_id,
        number=previous.number + 1 if previous else 1,
        at=timezone.now(),
        actor=actor,
        action=action,
        target=target,
        changes=changes or {},
        request_id=request_id,
        previous_sha256=previous.sha256 if previous else "",
    )
    event.sha256 = sha256_of(event)
    event.save(force_insert=True)
    return event


def sha256_of(event: AuditEvent) -> str:
    """The hash that the event must hold: over its own content and the hash before it."""
    content = [
        event.id,
        event.organization_id,
        event.number,
        event.at.isoformat(),
        event.actor,
        event.action,
        event.target,
        event.changes,
        event.request_id,
        event.previous_sha256,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def first_broken(organization_id: str) -> AuditEvent | None:
    """The first event whose hash or place in the chain is wrong; None if the record is whole."""
    before = ""
    events = AuditEvent.objects.filter(organization_id=organization_id).order_by("number")
    for number, event in enumerate(events.iterator(), start=1):
        if event.number != number or event.previous_sha256 != before or event.sha256 != sha256_of(event):
            return event
        before = event.sha256
    return None
