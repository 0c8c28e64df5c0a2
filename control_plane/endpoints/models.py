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
STRATEGIES = ("immediate", "rolling", "canary")
TRIGGERS = ("change", "rollback", "promotion")
MAX_REPLICAS = 16
# Shares of an endpoint's requests are whole basis points.
WHOLE = 10_000

# Observed states. The API writes only `desired_state`; the reconciler alone writes `state`.
ENDPOINT_TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset({"provisioning", "stopping", "deleting", "failed"}),
    "provisioning": frozenset({"loading", "stopping", "deleting", "failed"}),
    "loading": frozenset({"ready", "degraded", "provisioning", "stopping", "deleting", "failed"}),
    "ready": frozenset({"degraded", "updating", "stopping", "deleting", "failed"}),
    "degraded": frozenset({"ready", "updating", "stopping", "deleting", "failed"}),
    "updating": frozenset({"ready", "degraded", "stopping", "deleting", "failed"}),
    "stopping": frozenset({"stopped", "deleting", "provisioning", "failed"}),
    "stopped": frozenset({"provisioning", "deleting"}),
    "failed": frozenset({"provisioning", "stopping", "deleting"}),
    # A deletion can be taken back until the row is purged.
    "deleting": frozenset({"deleted", "provisioning", "stopping"}),
    "deleted": frozenset({"provisioning", "stopping"}),
}

ROLLOUT_TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset({"surging", "shifting", "aborting", "failed"}),
    "surging": frozenset({"shifting", "paused", "aborting", "failed"}),
    "shifting": frozenset({"observing", "completed", "paused", "aborting"}),
    "observing": frozenset({"shifting", "completed", "paused", "aborting"}),
    "paused": frozenset({"surging", "shifting", "observing", "aborting"}),
    "aborting": frozenset({"aborted"}),
    "completed": frozenset(),
    "aborted": frozenset(),
    "failed": frozenset(),
}
ROLLOUT_ENDED = ("completed", "aborted", "failed")


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
    # What the nodes of this serving group are.
    engine = models.CharField(max_length=16, default="embedded")
    hardware = models.CharField(max_length=32, default="cpu", validators=[SLUG])
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
    # Ready nodes below which it is degraded, and the number of nodes that it grows to under load.
    min_replicas = models.PositiveSmallIntegerField(default=1)
    max_replicas = models.PositiveSmallIntegerField(default=1)
    # Observed (fleet/scaling.py): what placement aims for now, since when one less would do; and the nodes that serve.
    desired_replicas = models.PositiveSmallIntegerField(default=1)
    quiet_since = models.DateTimeField(null=True, blank=True)
    ready_replicas = models.PositiveSmallIntegerField(default=0)
    # Soft deletion: when it was asked for, what the endpoint wanted before, and when nothing could bring it back.
    deleted_at = models.DateTimeField(null=True, blank=True)
    desired_before = models.CharField(max_length=16, blank=True, default="")
    purged_at = models.DateTimeField(null=True, blank=True)
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
            models.CheckConstraint(
                condition=Q(min_replicas__gte=1, max_replicas__gte=F("min_replicas"), max_replicas__lte=MAX_REPLICAS),
                name="endpoint_replicas",
            ),
            models.CheckConstraint(
                condition=Q(desired_replicas__gte=F("min_replicas"), desired_replicas__lte=F("max_replicas")),
                name="endpoint_desired_replicas",
            ),
            models.CheckConstraint(
                condition=Q(desired_state="deleted", deleted_at__isnull=False)
                | (~Q(desired_state="deleted") & Q(deleted_at=None, purged_at=None)),
                name="endpoint_deleted_at",
            ),
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
    """An immutable specification of how an endpoint runs; a change makes a new one with the next number.

    Only its share of the endpoint's requests changes, and which one is active: the one that the endpoint's own policy
    repeats, and to which an aborted rollout returns. The shares of an endpoint's deployments add up to WHOLE.
    """

    tenant_columns = ("organization", "project", "endpoint")

    id = TypedIdField("dep", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="deployments")
    number = models.PositiveIntegerField()
    model = models.ForeignKey(CatalogueModel, models.PROTECT, related_name="+")
    model_sha256 = models.CharField(max_length=64, blank=True, default="")
    engine = models.CharField(max_length=16, default="embedded")
    hardware = models.CharField(max_length=32, default="cpu")
    speculation_mode = models.CharField(max_length=16, default="adaptive")
    max_lookahead = models.PositiveSmallIntegerField(default=8)
    holdout_rate = models.FloatField(default=0.01)
    # None: the promoted version, whichever that is. (The speculators app is above this one.)
    speculator_version_id = TypedIdField("spv", null=True, blank=True)
    weight = models.PositiveSmallIntegerField(default=0)  # basis points
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(weight__lte=WHOLE), name="deployment_weight"),
            models.CheckConstraint(
                condition=Q(speculation_mode__in=SPECULATION_MODES, max_lookahead__lte=16)
                & Q(holdout_rate__gte=0, holdout_rate__lte=1),
                name="deployment_policy",
            ),
            models.UniqueConstraint(fields=["endpoint", "number"], name="deployment_number"),
            models.UniqueConstraint(fields=["endpoint"], condition=Q(active=True), name="deployment_one_active"),
            # The target of composite foreign keys: a rollout or a window can't name another endpoint's deployment.
            models.UniqueConstraint(fields=["endpoint", "id"], name="deployment_endpoint_id"),
        ]

    @property
    def weight_percent(self) -> float:
        return self.weight / 100


class Rollout(TenantModel, Stateful):
    """An endpoint's way from one deployment (the source) to another (the target), in steps of the target's share.

    pending -> surging: nodes load the target -> shifting: they apply a step's shares -> observing: the target is
    compared with the source -> the next step, or completed. What is worse is aborted: the source gets everything back.
    """

    TRANSITIONS = ROLLOUT_TRANSITIONS
    tenant_columns = ("organization", "project", "endpoint")

    id = TypedIdField("rol", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="rollouts")
    source = models.ForeignKey(Deployment, models.CASCADE, related_name="+")
    target = models.ForeignKey(Deployment, models.CASCADE, related_name="+")
    trigger = models.CharField(max_length=16, default="change")
    strategy = models.CharField(max_length=16)
    steps = models.JSONField()  # the target's share in each step: rising basis points, the last one WHOLE
    observe_seconds = models.PositiveIntegerField()
    min_requests = models.PositiveIntegerField()
    step = models.PositiveSmallIntegerField(default=0)  # steps that were begun
    # What nodes must have applied before the present step counts, and since when they all have.
    generation = models.PositiveBigIntegerField(default=0)
    observed_since = models.DateTimeField(null=True, blank=True)
    # Since when both serve: evidence begins here.
    shifted_at = models.DateTimeField(null=True, blank=True)
    hurried = models.BooleanField(default=False)  # somebody asked to go to the end without observing
    evidence = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            state_constraint(ROLLOUT_TRANSITIONS, name="rollout_state"),
            models.CheckConstraint(
                condition=Q(strategy__in=STRATEGIES, trigger__in=TRIGGERS), name="rollout_strategy_trigger"
            ),
            models.CheckConstraint(condition=~Q(source=F("target")), name="rollout_source_is_not_target"),
            models.CheckConstraint(
                condition=Q(state__in=ROLLOUT_ENDED, finished_at__isnull=False)
                | (~Q(state__in=ROLLOUT_ENDED) & Q(finished_at=None)),
                name="rollout_finished_at",
            ),
            models.UniqueConstraint(
                fields=["endpoint"], condition=~Q(state__in=ROLLOUT_ENDED), name="rollout_one_open"
            ),
        ]
        indexes = [models.Index(fields=["endpoint", "id"], name="rollout_newest")]

    @property
    def is_open(self) -> bool:
        return self.state not in ROLLOUT_ENDED

    @property
    def share(self) -> int:
        """The target's share in the present step, in basis points."""
        return int(self.steps[self.step - 1]) if self.step else 0


class RolloutEvent(StateEvent):
    subject = models.ForeignKey(Rollout, models.CASCADE, related_name="events")


class SpeculationWindow(TenantModel):
    """What one endpoint's requests of one arm did between two heartbeats of one node (contracts.SpeculationWindow).

    It lives here, below speculators and training, because both the dashboard and the regression watch read it.
    """

    tenant_columns: ClassVar[tuple[str, ...]] = ("organization", "endpoint")

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="windows")
    # None: from a node that knew no deployments.
    deployment = models.ForeignKey(Deployment, models.CASCADE, null=True, related_name="+")
    node_id = TypedIdField("node")
    arm = models.CharField(max_length=16)
    speculator_version_id = TypedIdField("spv", null=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    # By our clock; the others are the node's.
    received_at = models.DateTimeField(default=timezone.now)
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
    errors = models.PositiveIntegerField(default=0)
    # contracts.Moments: number of requests, sum of ln(value), sum of ln(value)^2.
    first_token_count = models.PositiveIntegerField(default=0)
    first_token_total = models.FloatField(default=0.0)
    first_token_squares = models.FloatField(default=0.0)
    per_token_count = models.PositiveIntegerField(default=0)
    per_token_total = models.FloatField(default=0.0)
    per_token_squares = models.FloatField(default=0.0)
    acceptance_count = models.PositiveIntegerField(default=0)
    acceptance_total = models.FloatField(default=0.0)
    acceptance_squares = models.FloatField(default=0.0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(arm__in=ARMS), name="window_arm"),
            models.CheckConstraint(condition=Q(accepted__lte=F("drafted")), name="window_accepted"),
            models.CheckConstraint(condition=Q(errors__lte=F("requests")), name="window_errors"),
            # A heartbeat that is sent twice counts once.
            models.UniqueConstraint(
                fields=["node_id", "endpoint", "deployment", "arm", "speculator_version_id", "started_at"],
                nulls_distinct=False,
                name="window_once",
            ),
        ]
        indexes = [
            models.Index(fields=["endpoint", "ended_at"], name="window_endpoint_time"),
            models.Index(fields=["deployment", "received_at"], name="window_deployment_time"),
        ]
