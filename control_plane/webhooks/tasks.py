"""Celery's entry points, on a queue of their own: receivers may be slow, and nothing else must wait for them."""

from __future__ import annotations

import time
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from control_plane.common.tasks import BaseTask
from control_plane.webhooks.dispatch import dispatch
from control_plane.webhooks.models import Occurrence, WebhookDelivery

RETENTION_DAYS = 30
BUSY_SECONDS = 20.0


@shared_task(base=BaseTask, name="webhooks.dispatch")
def dispatch_webhooks() -> None:
    """Announce and deliver until nothing is due, or the next nudge is long overdue."""
    end = time.monotonic() + BUSY_SECONDS
    while dispatch() and time.monotonic() < end:
        pass


@shared_task(base=BaseTask, name="webhooks.forget")
def forget_deliveries() -> None:
    """Deliveries are a log: kept for a month. What was never announced is as old only if nobody listened."""
    past = timezone.now() - timedelta(days=RETENTION_DAYS)
    WebhookDelivery.objects.unscoped().filter(created_at__lt=past).delete()
    Occurrence.objects.unscoped().filter(created_at__lt=past).delete()
