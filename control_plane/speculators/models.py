"""A project's consent, and the speculator that learns from its traffic: immutable versions, one of them active."""

from __future__ import annotations

import secrets

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.scoping import TenantModel
from control_plane.common.states import StateEvent, Stateful, state_constraint
from control_plane.endpoints.models import CatalogueModel
from control_plane.tenants.models import Organization, Project

MAX_RETENTION_DAYS = 365
PROMOTIONS = ("auto", "manual")
STRATEGIES = ("immediate", "canary")
# What a speculator's policy may say; both ends are allowed.
POLICY_BOUNDS: dict[str, tuple[float, float]] = {
    "min_gain": (0.0, 1.0),
    "confidence": (0.5, 0.999),
    "min_heldout_records": (2, 64),
    "max_drop": (0.01, 0.9),
    "every_hours": (1, 720),
}


REDACTIONS = ("off", "drop", "mask")
MEMORY_SCOPES = ("project", "end_user")
COALESCING = ("none", "tokens", "interval")
# What a stream's parts may be; both ends are allowed.
COALESCE_BOUNDS = {"coalesce_tokens": (2, 256), "coalesce_milliseconds": (10, 2000)}


def _end_user_key() -> str:
    return secrets.token_hex(32)


class TrafficPolicy(TenantModel):
    """A project's consent. No row means: no consent. `capture` off means that no content leaves a request."""

    tenant_columns = ("organization", "project")

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.OneToOneField(Project, models.PROTECT, primary_key=True, related_name="traffic_policy")
    capture = models.BooleanField(default=False)
    sample_rate = models.FloatField(default=1.0, validators=[MinValueValidator(0.0), MaxValueValidator(1.0)])
    retention_days = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(MAX_RETENTION_DAYS)]
    )
    redaction = models.CharField(max_length=8, choices=[(name, name) for name in REDACTIONS], default="drop")
    memory_scope = models.CharField(max_length=16, choices=[(name, name) for name in MEMORY_SCOPES], default="project")
    stream_coalescing = models.CharField(max_length=16, choices=[(name, name) for name in COALESCING], default="none")
    coalesce_tokens = models.PositiveIntegerField(default=16)
    coalesce_milliseconds = models.PositiveIntegerField(default=100)
    # Under which end users have their ids (contracts.end_user_id). It never changes: ids would lose their traffic.
    end_user_key = models.CharField(max_length=64, default=_end_user_key, editable=False)
    end_user_erasures = models.PositiveIntegerField(default=0, editable=False)
    # Traffic that a node recorded up to this moment was deleted; a copy that arrives later is deleted too.
    erased_before = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(sample_rate__gte=0.0, sample_rate__lte=1.0), name="traffic_policy_sample_rate"
            ),
            models.CheckConstraint(
                condition=Q(retention_days__gte=1, retention_days__lte=MAX_RETENTION_DAYS),
                name="traffic_policy_retention_days",
            ),
            models.CheckConstraint(
                condition=Q(redaction__in=REDACTIONS, memory_scope__in=MEMORY_SCOPES, stream_coalescing__in=COALESCING),
                name="traffic_policy_choices",
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__gte": low, f"{name}__lte": high}), name=f"traffic_policy_{name}"
                )
                for name, (low, high) in COALESCE_BOUNDS.items()
            ),
        ]


class Speculator(TenantModel):
    """What learns. One for each target model that a project serves; its endpoints share it, other projects never do."""

    tenant_columns = ("organization", "project")

    id = TypedIdField("spk", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="speculators")
    model = models.ForeignKey(CatalogueModel, models.PROTECT, related_name="+")
    # Frozen: no training is scheduled, nothing is promoted by itself. A person still can promote and roll back.
    frozen = models.BooleanField(default=False)
    # Policy. None: the service's default (settings), as it is when a run is judged.
    promotion = models.CharField(max_length=16, choices=[(name, name) for name in PROMOTIONS], default="auto")
    strategy = models.CharField(max_length=16, choices=[(name, name) for name in STRATEGIES], default="immediate")
    min_gain = models.FloatField(null=True, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    min_heldout_records = models.PositiveIntegerField(null=True, blank=True)
    max_drop = models.FloatField(null=True, blank=True)
    every_hours = models.PositiveIntegerField(null=True, blank=True)  # None: only new traffic and drift
    next_number = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "model"], name="speculator_project_model"),
            models.UniqueConstraint(fields=["project", "id"], name="speculator_project_id"),
            models.CheckConstraint(
                condition=Q(promotion__in=PROMOTIONS, strategy__in=STRATEGIES), name="speculator_promotion"
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gte": low, f"{name}__lte": high}),
                    name=f"speculator_{name}",
                )
                for name, (low, high) in POLICY_BOUNDS.items()
            ),
        ]


class VersionState(models.TextChoices):
    UPLOADING = "uploading"
    VERIFYING = "verifying"
    ELIGIBLE = "eligible"
    CANARY = "canary"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    RETIRED = "retired"
    PURGED = "purged"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


S = VersionState
# A version is evaluated by its training run before it exists: it goes from verifying to eligible.
VERSION_TRANSITIONS: dict[str, frozenset[str]] = {
    S.UPLOADING: frozenset({S.VERIFYING, S.REJECTED, S.RETIRED}),
    S.VERIFYING: frozenset({S.ELIGIBLE, S.REJECTED, S.QUARANTINED, S.RETIRED}),
    S.ELIGIBLE: frozenset({S.CANARY, S.ACTIVE, S.QUARANTINED, S.RETIRED}),
    S.CANARY: frozenset({S.ACTIVE, S.ELIGIBLE, S.QUARANTINED, S.RETIRED}),
    S.ACTIVE: frozenset({S.SUPERSEDED, S.QUARANTINED, S.RETIRED}),
    S.SUPERSEDED: frozenset({S.ACTIVE, S.QUARANTINED, S.RETIRED}),
    S.REJECTED: frozenset({S.RETIRED}),
    S.QUARANTINED: frozenset({S.RETIRED}),
    S.RETIRED: frozenset({S.PURGED}),
    S.PURGED: frozenset(),
}
PROMOTABLE = frozenset({S.ELIGIBLE, S.SUPERSEDED})
# In which a deployment that names the version may run it; else the static speculator serves.
SERVABLE = frozenset({S.ELIGIBLE, S.CANARY, S.ACTIVE, S.SUPERSEDED})


class SpeculatorVersion(Stateful, TenantModel):
    """An immutable artifact with its evidence. Only its state changes."""

    TRANSITIONS = VERSION_TRANSITIONS
    tenant_columns = ("organization", "project")

    id = TypedIdField("spv", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="speculator_versions")
    speculator = models.ForeignKey(Speculator, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    training_run_id = TypedIdField("run", null=True, blank=True)  # the training app is above this one
    # artifact
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    static_sha256 = models.CharField(max_length=64)
    artifact_key = models.CharField(max_length=300)
    manifest_key = models.CharField(max_length=300)
    manifest_sha256 = models.CharField(max_length=64)
    # lineage
    window_start = models.DateTimeField(null=True, blank=True)
    window_end = models.DateTimeField(null=True, blank=True)
    sample_count = models.PositiveIntegerField(default=0)
    consent = models.JSONField(default=dict)
    lineage = models.JSONField(default=dict)  # what the input was and under which consents it was captured
    # evidence
    evaluation = models.JSONField(default=dict)
    gate = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    promoted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            state_constraint(VERSION_TRANSITIONS, name="speculator_version_state"),
            models.UniqueConstraint(fields=["speculator", "number"], name="speculator_version_number"),
            # The target of composite foreign keys: parents and runs can't name another speculator's version.
            models.UniqueConstraint(fields=["speculator", "id"], name="speculator_version_speculator_id"),
            models.UniqueConstraint(fields=["project", "id"], name="speculator_version_project_id"),
            models.UniqueConstraint(
                fields=["speculator"], condition=Q(state="active"), name="speculator_version_one_active"
            ),
            models.CheckConstraint(
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")), name="speculator_version_parent"
            ),
        ]


class SpeculatorVersionEvent(StateEvent):
    subject = models.ForeignKey(SpeculatorVersion, models.PROTECT, related_name="events")


class AdaptationKind(models.TextChoices):
    """What can happen to a speculator, in one list for people."""

    DRIFT = "drift"  # a run was queued because the traffic changed
    RELEARNING = "relearning"  # a node's controller fell back to the static speculator
    QUEUED = "queued"
    TRAINED = "trained"  # the gate accepted what a run had learned
    REJECTED = "rejected"
    SKIPPED = "skipped"
    FAILED = "failed"
    WAITING = "waiting"  # a version passed the gate, and a person decides
    CANARY = "canary"  # a version is on trial with a share of an endpoint's requests
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REGRESSED = "regressed"
    RETIRED = "retired"
    FROZEN = "frozen"
    THAWED = "thawed"
    POLICY = "policy"


class AdaptationEvent(TenantModel):
    """One line of a speculator's history. Append-only; the version's and the run's own events say more."""

    tenant_columns = ("organization", "project", "speculator")

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    speculator = models.ForeignKey(Speculator, models.PROTECT, related_name="adaptation_events")
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=16, choices=AdaptationKind.choices)
    message = models.CharField(max_length=500, blank=True, default="")
    version = models.ForeignKey(SpeculatorVersion, models.PROTECT, null=True, blank=True, related_name="+")
    training_run_id = TypedIdField("run", null=True, blank=True)  # the training app is above this one
    actor = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=AdaptationKind.values), name="adaptation_event_kind")
        ]
        indexes = [models.Index(fields=["speculator", "id"], name="adaptation_event_newest")]
