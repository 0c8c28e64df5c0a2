"""What the tenants' tables forget by themselves."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.contrib.sessions.models import Session
from django.utils import timezone

from control_plane.common.tasks import BaseTask
from control_plane.tenants.models import IdempotencyRecord

IDEMPOTENCY_HOURS = 24


@shared_task(base=BaseTask, name="tenants.forget")
def forget() -> None:
    """Idempotency keys after a day; sessions that have expired."""
    now = timezone.now()
    IdempotencyRecord.objects.filter(created_at__lt=now - timedelta(hours=IDEMPOTENCY_HOURS)).delete()
    Session.objects.filter(expire_date__lt=now).delete()
