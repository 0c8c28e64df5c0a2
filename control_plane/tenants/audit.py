"""The append-only, hash-chained record of changes, one chain for each organization."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from control_plane.common.ids import decode
from control_plane.tenants.masking import mask
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
    never belong in it, and are masked if they should get there.
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
        changes=mask(changes or {}),
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


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of checking part of a chain. next_after: where to go on; None at its end, or where it is broken.

    The chain can't show that its newest events were cut off: whoever noted `head_sha256` and `last_number` earlier can.
    """

    checked: int
    first_broken: AuditEvent | None
    last_number: int
    head_sha256: str
    next_after: int | None

    @property
    def whole(self) -> bool:
        return self.first_broken is None


def verify(organization_id: str, *, after: int = 0, limit: int | None = None) -> Verification:
    """Recompute the hashes of the events above number `after` (whose own hash is taken as it is), `limit` at most."""
    events = AuditEvent.objects.filter(organization_id=organization_id).order_by("number")
    start = events.filter(number=after).first() if after else None
    before = start.sha256 if start else ""
    checked, number = 0, after
    wanted = events.filter(number__gt=after)
    for event in (wanted if limit is None else wanted[:limit]).iterator():
        if event.number != number + 1 or event.previous_sha256 != before or event.sha256 != sha256_of(event):
            return Verification(checked, event, number, before, None)
        checked, number, before = checked + 1, event.number, event.sha256
    more = limit is not None and checked == limit and events.filter(number__gt=number).exists()
    return Verification(checked, None, number, before, number if more else None)


def first_broken(organization_id: str) -> AuditEvent | None:
    """The first event whose hash or place in the chain is wrong; None if the record is whole."""
    return verify(organization_id).first_broken
