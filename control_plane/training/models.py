"""Traffic as it arrives in the object store, and the runs that learn from it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.scoping import TenantModel
from control_plane.common.states import StateEvent, Stateful, state_constraint
from control_plane.speculators.models import Speculator, SpeculatorVersion
from control_plane.tenants.models import Organization, Project


class TrafficSegment(TenantModel):
    """One object of consented traffic. The ascending id is the order of discovery, which is what "new" means."""

    tenant_columns = ("organization", "project")

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="traffic_segments")
    key = models.CharField(max_length=300, unique=True)
    size_bytes = models.PositiveBigIntegerField()
    records = models.PositiveIntegerField()
    tokens = models.PositiveBigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    consent = models.JSONField(default=dict)  # the policy under which all of it was captured
    end_users = models.JSONField(default=list, null=True)  # their ids; null: too many to name
    discovered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "last_at"], name="traffic_segment_project_last")]


class RunState(models.TextChoices):
    QUEUED = "queued"
    ADMITTED = "admitted"
    PREPARING = "preparing"
    RUNNING = "running"
    EVALUATING = "evaluating"
    PUBLISHING = "publishing"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRIGGERS = ("traffic", "drift", "schedule", "manual")

S = RunState
# Every working state may also be lost (back to queued), fail, or be cancelled.
LEASED = (S.ADMITTED, S.PREPARING, S.RUNNING, S.EVALUATING, S.PUBLISHING)
OPEN = (S.QUEUED, *LEASED)
_INTERRUPTED = {S.QUEUED, S.FAILED, S.CANCELLED}
RUN_TRANSITIONS: dict[str, frozenset[str]] = {
    S.QUEUED: frozenset({S.ADMITTED, S.CANCELLED, S.FAILED}),
    S.ADMITTED: frozenset({S.PREPARING, S.SKIPPED, *_INTERRUPTED}),
    S.PREPARING: frozenset({S.RUNNING, S.SKIPPED, *_INTERRUPTED}),
    S.RUNNING: frozenset({S.EVALUATING, S.PUBLISHING, S.REJECTED, S.SKIPPED, *_INTERRUPTED}),
    S.EVALUATING: frozenset({S.PUBLISHING, S.REJECTED, S.SKIPPED, *_INTERRUPTED}),
    S.PUBLISHING: frozenset({S.SUCCEEDED, *_INTERRUPTED}),
    S.SUCCEEDED: frozenset(),
    S.REJECTED: frozenset(),
    S.SKIPPED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}


class TrainingRun(Stateful, TenantModel):
    """One attempt to learn from a project's traffic. The row is the queue: workers claim it by a conditional UPDATE."""

    TRANSITIONS = RUN_TRANSITIONS
    tenant_columns = ("organization", "project")

    id = TypedIdField("run", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="training_runs")
    speculator = models.ForeignKey(Speculator, models.PROTECT, related_name="training_runs")
    trigger = models.CharField(max_length=16, choices=[(name, name) for name in TRIGGERS])
    # lease
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    # progress
    phase = models.CharField(max_length=32, blank=True, default="")
    progress = models.FloatField(default=0.0)
    loss = models.FloatField(null=True, blank=True)
    # [seconds since the child's start, loss], thinned to at most `losses.MAX_POINTS`
    loss_series = models.JSONField(default=list)
    training_milliseconds = models.PositiveBigIntegerField(default=0)  # of the child, over all attempts: metered
    # input, frozen when the work begins: {"train": [keys], "heldout": [keys], "records": n}
    inputs = models.JSONField(default=dict)
    last_segment_id = models.BigIntegerField(default=0)  # traffic after this segment is new to the next run
    consent = models.JSONField(default=dict)
    incumbent = models.ForeignKey(SpeculatorVersion, models.PROTECT, null=True, blank=True, related_name="+")
    # known when the input was read: `inputs.Materialized`
    lineage = models.JSONField(default=dict)
    end_users = models.JSONField(default=list)
    # outcome
    report = models.JSONField(null=True, blank=True)
    gate = models.JSONField(null=True, blank=True)
    version = models.ForeignKey(SpeculatorVersion, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            state_constraint(RUN_TRANSITIONS, name="training_run_state"),
            models.UniqueConstraint(
                fields=["speculator"], condition=Q(state__in=[*OPEN]), name="training_run_one_open"
            ),
            models.CheckConstraint(condition=Q(attempts__lte=3), name="training_run_attempts"),
            models.CheckConstraint(
                condition=Q(state__in=[*LEASED], lease_token__isnull=False)
                | (~Q(state__in=[*LEASED]) & Q(lease_token__isnull=True)),
                name="training_run_lease",
            ),
        ]
        indexes = [
            models.Index(
                fields=["lease_expires_at"], condition=Q(lease_token__isnull=False), name="training_run_leased"
            ),
            models.Index(fields=["created_at"], condition=Q(state="queued"), name="training_run_waiting"),
            models.Index(fields=["project", "-created_at"], name="training_run_project_newest"),
        ]


class TrainingRunEvent(StateEvent):
    subject = models.ForeignKey(TrainingRun, models.PROTECT, related_name="events")


class ErasureReceipt(TenantModel):
    """Proof that a project's traffic, or one end user's, was deleted, and what had learned from it."""

    tenant_columns = ("organization", "project")

    id = TypedIdField("era", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="erasure_receipts")
    end_user_id = models.CharField(max_length=35, blank=True, default="")  # empty: everybody's
    requested_by = models.CharField(max_length=64)
    requested_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True)
    num_objects = models.PositiveIntegerField(default=0)
    num_records = models.PositiveIntegerField(default=0)
    retired_versions = models.JSONField(default=list)
