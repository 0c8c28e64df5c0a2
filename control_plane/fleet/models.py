"""Nodes as they reported themselves."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.states import StateEvent, Stateful, state_constraint

NODE_TRANSITIONS: dict[str, frozenset[str]] = {
    "registering": frozenset({"ready", "not_ready", "draining", "drained", "lost"}),
    "ready": frozenset({"not_ready", "draining", "drained", "lost", "registering"}),
    "not_ready": frozenset({"ready", "draining", "drained", "lost", "registering"}),
    "draining": frozenset({"drained", "ready", "not_ready", "lost", "registering"}),
    "drained": frozenset({"ready", "not_ready", "draining", "lost", "registering"}),
    "lost": frozenset({"ready", "not_ready", "draining", "drained", "registering"}),
}


class Node(Stateful):
    """One data-plane process. `boot_id` fences: a report of an earlier boot changes nothing."""

    TRANSITIONS = NODE_TRANSITIONS

    id = TypedIdField("node", primary_key=True)
    name = models.CharField(max_length=120, unique=True)
    credential_digest = models.CharField(max_length=64)
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
    usage_spooled = models.PositiveBigIntegerField(default=0)
    traffic_dropped = models.PositiveBigIntegerField(default=0)
    registered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [state_constraint(NODE_TRANSITIONS, name="node_state")]
        indexes = [models.Index(fields=["model", "state"], name="node_model_state")]

    def __str__(self) -> str:
        return self.name


class NodeEvent(StateEvent):
    subject = models.ForeignKey(Node, models.CASCADE, related_name="events")
