"""Usage as nodes report it, prices, and how far each node's sequence has arrived. All of it is append-only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.scoping import TenantModel
from control_plane.endpoints.models import CatalogueModel, Endpoint
from control_plane.tenants.models import ApiKey, Organization, Project

STATUSES = ("completed", "client_cancelled", "engine_error", "timeout", "rejected")


class UsageEvent(TenantModel):
    """One admitted request (contracts.UsageEvent) and its place in the node's sequence. Never changes."""

    tenant_columns: ClassVar[tuple[str, ...]] = ("organization", "project")

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=64)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="+")
    deployment_id = models.CharField(max_length=64)
    model = models.CharField(max_length=120)
    status = models.CharField(max_length=16)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    prompt_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    # Recorded, never billed.
    steps = models.BigIntegerField()
    drafted = models.BigIntegerField()
    accepted = models.BigIntegerField()
    speculation_mode = models.CharField(max_length=16)
    speculator_version_id = models.CharField(max_length=64, null=True)
    request_id = models.CharField(max_length=64, blank=True)
    node_id = TypedIdField("node")
    boot_id = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    payload_sha256 = models.CharField(max_length=64)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "event_id"], name="usage_event_once"),
            models.UniqueConstraint(fields=["node_id", "boot_id", "seq"], name="usage_event_sequence"),
            models.CheckConstraint(condition=Q(status__in=STATUSES), name="usage_event_status"),
            models.CheckConstraint(
                condition=Q(cached_tokens__gte=0, cached_tokens__lte=F("prompt_tokens"), completion_tokens__gte=0),
                name="usage_event_tokens",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "finished_at"], name="usage_event_organization_time"),
            models.Index(fields=["project", "finished_at"], name="usage_event_project_time"),
        ]


def _sum() -> models.DecimalField[Any, Any]:
    """A whole number that no number of events overflows."""
    return models.DecimalField(max_digits=38, decimal_places=0)


class UsageSums(TenantModel):
    """Sums of a UTC day's events (by `finished_at`), kept with every batch: always those of the events (rollups.py)."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    model = models.CharField(max_length=120)
    status = models.CharField(max_length=16)
    requests = models.BigIntegerField()
    prompt_tokens = _sum()
    cached_tokens = _sum()
    completion_tokens = _sum()
    steps = _sum()
    drafted = _sum()
    accepted = _sum()

    class Meta:
        abstract = True


class OrganizationUsageDay(UsageSums):
    """What statements are made of: few rows, whatever the number of projects."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", "model", "status"], name="organization_usage_day_unique"
            )
        ]


class KeyUsageDay(UsageSums):
    """For reports by project, endpoint or key."""

    tenant_columns: ClassVar[tuple[str, ...]] = ("organization", "project")

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    endpoint = models.ForeignKey(Endpoint, models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "day", "endpoint", "key", "model", "status"], name="key_usage_day_unique"
            )
        ]
        indexes = [models.Index(fields=["organization", "day"], name="key_usage_day_organization")]


class QuarantinedUsage(models.Model):
    """An event that can't be billed as it is. Nothing is lost: operators see it with the reason."""

    id = models.BigAutoField(primary_key=True)
    node_id = TypedIdField("node")
    boot_id = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    reason = models.CharField(max_length=32)
    detail = models.CharField(max_length=500)
    payload = models.JSONField()
    payload_sha256 = models.CharField(max_length=64)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["node_id", "boot_id", "seq", "payload_sha256"], name="quarantined_usage_once"
            )
        ]


class SequenceProgress(models.Model):
    """What has arrived of one boot of one node: half-open ranges `[[start, end), …]` of sequence numbers."""

    id = models.BigAutoField(primary_key=True)
    node_id = TypedIdField("node")
    boot_id = models.CharField(max_length=64)
    received = models.JSONField(default=list)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node_id", "boot_id"], name="sequence_progress_unique")]


class Price(models.Model):
    """What a model's tokens cost from a moment on, in micro-dollars per million tokens. Never changes.

    A micro-dollar per million tokens is a pico-dollar per token: amounts are exact integers of pico-dollars.
    """

    id = TypedIdField("prc", primary_key=True)
    model = models.ForeignKey(CatalogueModel, models.PROTECT, related_name="prices")
    effective_from = models.DateTimeField()
    prompt = models.BigIntegerField()
    cached = models.BigIntegerField()
    completion = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "effective_from"], name="price_effective_from"),
            models.CheckConstraint(
                condition=Q(prompt__gte=0, cached__gte=0, completion__gte=0), name="price_not_negative"
            ),
        ]
