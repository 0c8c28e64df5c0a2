"""Where to send events, what is to be sent, and what was tried."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.scoping import TenantModel
from control_plane.common.states import StateEvent, Stateful, state_constraint
from control_plane.tenants.models import Organization


class Webhook(TenantModel):
    """An address of an organization, and which events it wants. `secret` is sealed (common/sealing.py)."""

    id = TypedIdField("whk", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True, default="")
    event_types = models.JSONField(default=list)
    secret = models.CharField(max_length=300)
    # Signs too until then, so that receivers can change over.
    previous_secret = models.CharField(max_length=300, blank=True, default="")
    previous_secret_expires_at = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    # Why the service itself disabled it: "failing" or "gone".
    disabled_reason = models.CharField(max_length=32, blank=True, default="")
    failing_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="webhook_organization_id")]
        indexes = [models.Index(fields=["organization"], condition=Q(enabled=True), name="webhook_enabled")]


class Occurrence(TenantModel):
    """Something that happened and is not yet turned into deliveries: the outbox.

    A trigger writes it in the transaction of the change (`triggers.py`), so that no commit order can hide it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # becomes the event's id
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    source = models.CharField(max_length=32)
    source_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)


class DeliveryState(models.TextChoices):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


S = DeliveryState
# A delivery that has ended becomes pending again when it is replayed.
DELIVERY_TRANSITIONS: dict[str, frozenset[str]] = {
    S.PENDING: frozenset({S.DELIVERED, S.FAILED}),
    S.DELIVERED: frozenset({S.PENDING}),
    S.FAILED: frozenset({S.PENDING}),
}


class WebhookDelivery(Stateful, TenantModel):
    """One event for one webhook. The row is the queue: due when `next_attempt_at` has passed."""

    TRANSITIONS = DELIVERY_TRANSITIONS
    tenant_columns = ("organization", "webhook")

    id = TypedIdField("whd", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    event_id = TypedIdField("evt")
    event_type = models.CharField(max_length=100)
    payload = models.JSONField()
    attempts = models.PositiveSmallIntegerField(default=0)
    # When it is due; while somebody sends it, when others may take it over.
    next_attempt_at = models.DateTimeField(null=True, blank=True, default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            state_constraint(DELIVERY_TRANSITIONS, name="webhook_delivery_state"),
            models.UniqueConstraint(fields=["webhook", "event_id"], name="webhook_delivery_once"),
            models.UniqueConstraint(fields=["organization", "id"], name="webhook_delivery_organization_id"),
            models.CheckConstraint(
                condition=Q(state=S.PENDING, next_attempt_at__isnull=False)
                | (~Q(state=S.PENDING) & Q(next_attempt_at__isnull=True)),
                name="webhook_delivery_due",
            ),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state=S.PENDING), name="webhook_delivery_pending"),
            models.Index(fields=["created_at"], name="webhook_delivery_created"),
        ]


class WebhookDeliveryEvent(StateEvent):
    subject = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="events")


class WebhookAttempt(TenantModel):
    """One request that was made, or could not be made."""

    tenant_columns = ("organization", "delivery")

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="attempt_log")
    at = models.DateTimeField(default=timezone.now)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    # Empty on success: "timeout", "connection", "forbidden_address", "status", …
    error = models.CharField(max_length=32, blank=True, default="")
    latency_milliseconds = models.PositiveIntegerField(default=0)
    response = models.CharField(max_length=1024, blank=True, default="")
