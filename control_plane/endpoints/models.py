"""Target models, endpoints, deployments, and what speculation did on them over time."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.scoping import TenantModel
from control_plane.common.states import StateEvent, Stateful, state_constraint
from control_plane.tenants.models import Organization, Project

SLUG = RegexValidator(r"\A[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?\Z", "Lower-case letters, digits, dots and hyphens.")

DESIRED_STATES = ("running", "stopped", "deleted")
SPECULATION_MODES = ("off", "static", "adaptive")
ARMS = ("off", "static", "adaptive")

# Observed states. The API writes only `desired_state`; the reconciler alone writes `state`.
ENDPOINT_TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset({"provisioning", "stopping", "deleting", "failed"}),
    "provisioning": frozenset({"loading", "stopping", "deleting", "failed"}),
    "loading": frozenset({"ready", "provisioning", "stopping", "deleting", "failed"}),
    "ready": frozenset({"degraded", "updating", "stopping", "deleting", "failed"}),
    "degraded": frozenset({"ready", "updating", "stopping", "deleting", "failed"}),
    "updating": frozenset({"ready", "degraded", "stopping", "deleting", "failed"}),
    "stopping": frozenset({"stopped", "deleting", "provisioning", "failed"}),
    "stopped": frozenset({"provisioning", "deleting"}),
    "failed": frozenset({"provisioning", "stopping", "deleting"}),
    "deleting": frozenset({"deleted"}),
    "deleted": frozenset(),
}


class CatalogueModel(models.Model):
    """A target model that can be served. Its id is also the serving group of its nodes."""

    id = models.CharField(primary_key=True, max_length=120, validators=[SLUG])
    name = models.CharField(max_length=120)
    folder = models.CharField(max_length=255, help_text="Folder of the weights below SLIPSTREAM_MODELS_DIR.")
    static_checkpoint = models.CharField(
        max_length=255,
        blank=True,
        default="",
        help_text="Folder of the static drafter below SLIPSTREAM_CHECKPOINTS_DIR.",
    )
    context_length = models.PositiveIntegerField()
    parameters = models.PositiveBigIntegerField(default=0)
    license = models.CharField(max_length=64, blank=True, default="")
    sha256 = models.CharField(max_length=64, blank=True, default="")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class Endpoint(TenantModel, Stateful):
    """A name under which a project's clients reach a target model."""

    TRANSITIONS = ENDPOINT_TRANSITIONS
    tenant_columns = ("organization", "project")

    id = TypedIdField("ep", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="endpoints")
    name = models.CharField(max_length=63, validators=[SLUG])
    model = models.ForeignKey(CatalogueModel, models.PROTECT, related_name="+")
    desired_state = models.CharField(max_length=16, default="running")
    speculation_mode = models.CharField(max_length=16, default="adaptive")
    max_lookahead = models.PositiveSmallIntegerField(default=8)
    # Share of adaptive requests that the static speculator serves alone, as the live comparison.
    holdout_rate = models.FloatField(default=0.01)
    # Counts changes through the API; the strong ETag.
    row_version = models.PositiveIntegerField(default=1)
    # The snapshot generation of the last change, and the newest one that a ready node has applied.
    generation = models.PositiveBigIntegerField(default=0)
    observed_generation = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            state_constraint(ENDPOINT_TRANSITIONS, name="endpoint_state"),
            models.CheckConstraint(condition=Q(desired_state__in=DESIRED_STATES), name="endpoint_desired_state"),
            models.CheckConstraint(
                condition=Q(speculation_mode__in=SPECULATION_MODES), name="endpoint_speculation_mode"
            ),
            models.CheckConstraint(condition=Q(max_lookahead__lte=16), name="endpoint_max_lookahead"),
            models.CheckConstraint(condition=Q(holdout_rate__gte=0, holdout_rate__lte=1), name="endpoint_holdout_rate"),
            models.UniqueConstraint(
                fields=["project", "name"], condition=~Q(desired_state="deleted"), name="endpoint_name_unique"
            ),
            models.UniqueConstraint(fields=["project", "id"], name="endpoint_project_id"),
            models.UniqueConstraint(fields=["organization", "id"], name="endpoint_organization_id"),
        ]
        indexes = [models.Index(fields=["model", "project"], name="endpoint_model")]

    def __str__(self) -> str:
        return self.name

    @property
    def etag(self) -> str:
        return f'"{self.row_version}"'


class EndpointEvent(StateEvent):
    subject = models.ForeignKey(Endpoint, models.CASCADE, related_name="events")


class Deployment(TenantModel):
    """An immutable specification of how an endpoint runs; a change makes a new one with the next number."""

    tenant_columns = ("organization", "endpoint")

    id = TypedIdField("dep", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="deployments")
    number = models.PositiveIntegerField()
    model = models.ForeignKey(CatalogueModel, models.PROTECT, related_name="+")
    model_sha256 = models.CharField(max_length=64, blank=True, default="")
    engine = models.CharField(max_length=16, default="embedded")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "number"], name="deployment_number"),
            models.UniqueConstraint(fields=["endpoint"], condition=Q(active=True), name="deployment_one_active"),
        ]


class SpeculationWindow(TenantModel):
    """What one endpoint's requests of one arm did between two heartbeats of one node (contracts.SpeculationWindow).

    It lives here, below speculators and training, because both the dashboard and the regression watch read it.
    """

    tenant_columns: ClassVar[tuple[str, ...]] = ("organization", "endpoint")

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="windows")
    node_id = TypedIdField("node")
    arm = models.CharField(max_length=16)
    speculator_version_id = TypedIdField("spv", null=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    requests = models.PositiveIntegerField()
    completion_tokens = models.PositiveBigIntegerField()
    decode_seconds = models.FloatField()
    steps = models.PositiveBigIntegerField()
    drafted = models.PositiveBigIntegerField()
    accepted = models.PositiveBigIntegerField()
    per_position_drafted = models.JSONField(default=list)
    per_position_accepted = models.JSONField(default=list)
    drafted_by_source = models.JSONField(default=dict)
    accepted_by_source = models.JSONField(default=dict)
    relearning = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(arm__in=ARMS), name="window_arm"),
            models.CheckConstraint(condition=Q(accepted__lte=F("drafted")), name="window_accepted"),
            # A heartbeat that is sent twice counts once.
            models.UniqueConstraint(
                fields=["node_id", "endpoint", "arm", "speculator_version_id", "started_at"],
                nulls_distinct=False,
                name="window_once",
            ),
        ]
        indexes = [models.Index(fields=["endpoint", "ended_at"], name="window_endpoint_time")]
