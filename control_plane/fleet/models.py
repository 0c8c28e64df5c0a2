"""Nodes as they reported themselves."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.states import StateEvent, Stateful, state_constraint

_ALIVE = ("ready", "not_ready", "cordoned", "draining", "drained")

# A node reports what it is, and operators say what they want of it (`desired`): any report may follow any other.
NODE_TRANSITIONS: dict[str, frozenset[str]] = {
    state: frozenset({*_ALIVE, "registering", "lost"}) - {state} for state in (*_ALIVE, "registering", "lost")
}

# serving: takes new projects. cordoned: keeps those that it has. drained: is to give them away.
DESIRED_STATES = ("serving", "cordoned", "drained")
# States in which a node can hold projects, and in which it answers requests.
_HOLDS = frozenset({"registering", "ready", "not_ready", "cordoned"})
_SERVES = frozenset({"ready", "cordoned", "draining"})


class Node(Stateful):
    """One data-plane process. `boot_id` fences: a report of an earlier boot changes nothing."""

    TRANSITIONS = NODE_TRANSITIONS

    id = TypedIdField("node", primary_key=True)
    name = models.CharField(max_length=120, unique=True)
    credential_digest = models.CharField(max_length=64)
    credential_issued_at = models.DateTimeField(default=timezone.now)
    # After a rotation, the credential before works for a while: the node may not have kept the new one.
    previous_credential_digest = models.CharField(max_length=64, blank=True, default="")
    previous_credential_until = models.DateTimeField(null=True, blank=True)
    credential_revoked_at = models.DateTimeField(null=True, blank=True)
    boot_id = models.CharField(max_length=64)
    engine = models.CharField(max_length=32)
    model = models.CharField(max_length=120)  # catalogue id: the serving group
    model_sha256 = models.CharField(max_length=64, blank=True, default="")
    address = models.CharField(max_length=255, blank=True, default="")
    applied_generation = models.PositiveBigIntegerField(default=0)
    last_seen_at = models.DateTimeField(default=timezone.now)
    # contracts.LoadedVersion values: which speculator versions it runs or refused, and why.
    loaded = models.JSONField(default=list)
    running_requests = models.PositiveIntegerField(default=0)
    waiting_requests = models.PositiveIntegerField(default=0)
    # Requests that it runs at once (0: it doesn't say), and that each project has there, running or waiting.
    slots = models.PositiveIntegerField(default=0)
    in_flight = models.JSONField(default=dict)
    usage_spooled = models.PositiveBigIntegerField(default=0)
    traffic_dropped = models.PositiveBigIntegerField(default=0)
    registered_at = models.DateTimeField(default=timezone.now)
    desired = models.CharField(max_length=16, default="serving")
    # Whether it admits requests: a process that is shutting down does not, one that gives its projects away does.
    admits = models.BooleanField(default=True)
    # Whether every project was asked if it would rather live here (fleet/placement.py).
    is_offered = models.BooleanField(default=False)
    # Capacity as the node reported it: projects in its snapshot, and memory for their own speculator versions.
    max_projects = models.PositiveIntegerField(default=1000)
    adaptive_bytes = models.PositiveBigIntegerField(default=256 << 20)

    class Meta:
        constraints = [
            state_constraint(NODE_TRANSITIONS, name="node_state"),
            models.CheckConstraint(condition=Q(desired__in=DESIRED_STATES), name="node_desired"),
        ]
        indexes = [models.Index(fields=["model", "state"], name="node_model_state")]

    def __str__(self) -> str:
        return self.name

    @property
    def accepts(self) -> bool:
        """Whether projects may be placed here."""
        return self.desired == "serving" and self.state in _HOLDS

    @property
    def keeps(self) -> bool:
        """Whether the projects that are placed here may stay."""
        return self.desired != "drained" and self.state in _HOLDS

    def serves(self, generation: int) -> bool:
        """Whether it answers requests for what came to it with `generation`."""
        return self.state in _SERVES and self.admits and self.applied_generation >= generation


class NodeEvent(StateEvent):
    subject = models.ForeignKey(Node, models.CASCADE, related_name="events")


class NodeToken(models.Model):
    """Lets one node register, once. Stored is an HMAC of it; operators see the text when they make it."""

    id = TypedIdField("ntk", primary_key=True)
    public_id = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    node_name = models.CharField(max_length=120, blank=True, default="")  # empty: any
    model = models.CharField(max_length=120, blank=True, default="")  # empty: any
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(Node, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(used_by=None) | Q(used_at__isnull=False), name="node_token_used"),
        ]

    @property
    def state(self) -> str:
        if self.used_at is not None:
            return "used"
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else "open"


class OperatorEvent(models.Model):
    """What operators did to the fleet. A trigger refuses UPDATE and DELETE."""

    id = TypedIdField("opv", primary_key=True)
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=64)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=64)
    changes = models.JSONField(default=dict)
    request_id = models.CharField(max_length=40, blank=True, default="")
