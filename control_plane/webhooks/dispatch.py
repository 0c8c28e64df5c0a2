"""From the outbox to the receivers. Every step may run anywhere, any number of times, and be killed anywhere.

1. announce: occurrences become deliveries, one for each webhook that wants them, and are deleted: one transaction.
2. deliver: due deliveries are claimed by a conditional UPDATE that also says when others may take them over; the
   requests run in threads, the database belongs to this one.
3. settle: delivered; or due again later; or, after the last attempt, failed.

At least once: a process that dies between the receiver's answer and `settle` sends again. No order is promised.
"""

from __future__ import annotations

import json
import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from control_plane.common.ids import encode
from control_plane.common.sealing import Unsealable, unseal
from control_plane.common.states import transition
from control_plane.tenants import audit
from control_plane.webhooks import sources
from control_plane.webhooks.guard import Resolver, resolve
from control_plane.webhooks.models import DeliveryState, Occurrence, Webhook, WebhookAttempt, WebhookDelivery
from control_plane.webhooks.sender import SECONDS, Message, Outcome, send
from control_plane.webhooks.services import create_delivery

logger = logging.getLogger(__name__)

BATCH = 200
THREADS = 8
# At once to one webhook: a slow receiver holds up itself, and everybody else by one request's time limit at most.
AT_ONCE = 2
LEASE_SECONDS = 60.0
# Before attempt 2, 3, …: 27.7 hours in all; each is lengthened by up to a fifth at random.
DELAYS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200)
MAX_ATTEMPTS = len(DELAYS) + 1
GONE = 410  # Standard Webhooks: the receiver wants no more


def dispatch(resolver: Resolver = resolve) -> int:
    """Announce what happened and deliver what is due, one batch of each. Returns how many requests were made."""
    announce()
    return deliver_due(resolver)


@transaction.atomic
def announce() -> int:
    """Turn occurrences into deliveries. Returns how many occurrences there were."""
    taken = list(Occurrence.objects.unscoped().select_for_update(skip_locked=True).order_by("created_at")[:BATCH])
    if not taken:
        return 0
    by_source: dict[str, list[str]] = defaultdict(list)
    for row in taken:
        by_source[row.source].append(row.source_id)
    happened = {source: sources.read(source, ids) for source, ids in by_source.items()}
    wanted: dict[str, list[Webhook]] = defaultdict(list)
    organizations = {row.organization_id for row in taken}
    for webhook in Webhook.objects.filter(organization__in=organizations, enabled=True):
        wanted[webhook.organization_id].append(webhook)
    for row in taken:
        found = happened[row.source].get(row.source_id)
        if found is None:  # deleted meanwhile
            continue
        for webhook in wanted[row.organization_id]:
            if sources.matches(webhook.event_types, found.type):
                create_delivery(webhook, encode("evt", row.id), found)
    Occurrence.objects.unscoped().filter(pk__in=[row.pk for row in taken]).delete()
    return len(taken)


def deliver_due(resolver: Resolver = resolve) -> int:
    claimed = [delivery for delivery_id in _due() if (delivery := _claim(delivery_id)) is not None]
    messages = [_message(delivery) for delivery in claimed]
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        outcomes = list(pool.map(lambda message: _send(message, resolver), messages))
    for delivery, outcome in zip(claimed, outcomes, strict=True):
        settle(delivery, outcome)
    return len(claimed)


def _due() -> Sequence[str]:
    """Ids of deliveries to be sent now: the longest due first, few of each webhook."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id FROM (
                SELECT d.id, d.next_attempt_at,
                       row_number() OVER (PARTITION BY d.webhook_id ORDER BY d.next_attempt_at, d.id) AS place
                FROM webhooks_webhookdelivery d JOIN webhooks_webhook w ON w.id = d.webhook_id
                WHERE d.state = 'pending' AND d.next_attempt_at <= %s AND w.enabled
            ) due WHERE place <= %s ORDER BY next_attempt_at LIMIT %s
            """,
            [timezone.now(), AT_ONCE, 2 * THREADS],
        )
        return [encode("whd", row[0]) for row in cursor.fetchall()]


def _claim(delivery_id: str) -> WebhookDelivery | None:
    """The delivery, if this call won it. It stays pending: should we die, it is due again when the lease is over."""
    now = timezone.now()
    rows = WebhookDelivery.objects.unscoped().filter(
        pk=delivery_id, state=DeliveryState.PENDING, next_attempt_at__lte=now
    )
    if rows.update(next_attempt_at=now + timedelta(seconds=LEASE_SECONDS)) != 1:
        return None
    return WebhookDelivery.objects.unscoped().select_related("webhook").get(pk=delivery_id)


def _message(delivery: WebhookDelivery) -> Message | None:
    """None if the secret can't be opened."""
    webhook, now = delivery.webhook, timezone.now()
    sealed = [webhook.secret]
    if webhook.previous_secret and webhook.previous_secret_expires_at and webhook.previous_secret_expires_at > now:
        sealed.append(webhook.previous_secret)
    try:
        secrets = tuple(unseal(secret) for secret in sealed)
    except Unsealable as error:
        logger.error("webhook %s: %s", webhook.id, error)
        return None
    body = json.dumps(delivery.payload, separators=(",", ":"), ensure_ascii=False)
    return Message(webhook.url, str(delivery.event_id), body, secrets)


def _send(message: Message | None, resolver: Resolver) -> Outcome:
    """In a thread: no database here."""
    if message is None:
        return Outcome(None, "secret_lost", 0)
    return send(
        message,
        now=timezone.now(),
        allow_private=settings.SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE,
        resolver=resolver,
        seconds=SECONDS,
    )


@transaction.atomic
def settle(delivery: WebhookDelivery, outcome: Outcome) -> None:
    """Write the attempt down, and what becomes of the delivery and of its webhook."""
    rows = Webhook.objects.filter(organization=delivery.organization_id).select_for_update()
    webhook = rows.filter(pk=delivery.webhook_id).first()
    if webhook is None:  # deleted meanwhile, with everything that belongs to it
        return
    now = timezone.now()
    WebhookAttempt.objects.create(
        organization_id=delivery.organization_id,
        delivery=delivery,
        at=now,
        status_code=outcome.status_code,
        error=outcome.error,
        latency_milliseconds=outcome.latency_milliseconds,
        response=outcome.response,
    )
    locked = WebhookDelivery.objects.filter(organization=delivery.organization_id).select_for_update()
    delivery = locked.get(pk=delivery.pk)
    if delivery.state != DeliveryState.PENDING:  # somebody else took it over when our lease was over
        return
    attempts = delivery.attempts + 1
    if outcome.succeeded:
        transition(delivery, DeliveryState.DELIVERED, attempts=attempts, next_attempt_at=None)
        Webhook.objects.filter(organization=webhook.organization_id, pk=webhook.pk).update(failing_since=None)
        return
    if attempts >= MAX_ATTEMPTS or outcome.status_code == GONE:
        last = f"{outcome.error} {outcome.status_code or ''}".strip()
        message = f"Given up after {attempts} attempts; the last one: {last}."
        transition(
            delivery, DeliveryState.FAILED, code=outcome.error, message=message, attempts=attempts, next_attempt_at=None
        )
    else:
        delay = DELAYS[attempts - 1] * random.uniform(1.0, 1.2)
        WebhookDelivery.objects.filter(organization=delivery.organization_id, pk=delivery.pk).update(
            attempts=attempts, next_attempt_at=now + timedelta(seconds=delay)
        )
    _note_failure(webhook, gone=outcome.status_code == GONE)


def _note_failure(webhook: Webhook, *, gone: bool) -> None:
    """Disable a webhook whose receiver says that it is gone, or has failed for days without a success."""
    now = timezone.now()
    webhook.failing_since = webhook.failing_since or now
    patience = timedelta(days=settings.SLIPSTREAM_WEBHOOK_DISABLE_DAYS)
    if webhook.enabled and (gone or now - webhook.failing_since > patience):
        webhook.enabled = False
        webhook.disabled_reason = "gone" if gone else "failing"
        audit.record(
            webhook.organization_id,
            actor="system",
            action="webhook.disable",
            target=webhook.id,
            changes={"enabled": [True, False], "reason": webhook.disabled_reason},
        )
    webhook.save(update_fields=["failing_since", "enabled", "disabled_reason"])
