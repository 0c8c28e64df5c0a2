"""The fleet as operators see it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.common.parsing import StrictSerializer
from control_plane.fleet.models import DESIRED_STATES, NODE_TRANSITIONS
from control_plane.fleet.registration import LONGEST_TOKEN_SECONDS

TOKEN_STATES = ("open", "used", "revoked", "expired")


class LoadedSerializer(serializers.Serializer[Any]):
    endpoint_id = serializers.CharField()
    speculator_version_id = serializers.CharField()
    state = serializers.ChoiceField(["loaded", "refused"])
    reason = serializers.CharField()


class SequenceSerializer(serializers.Serializer[Any]):
    """How far a boot's usage has arrived; `gaps` are half-open ranges that are missing below the highest number."""

    boot_id = serializers.CharField()
    acknowledged = serializers.IntegerField()
    gaps = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))


class NodeSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(sorted(NODE_TRANSITIONS))
    state_code = serializers.CharField()
    state_message = serializers.CharField()
    desired = serializers.ChoiceField(DESIRED_STATES, help_text="What operators want; `state` follows.")
    boot_id = serializers.CharField()
    engine = serializers.CharField()
    model = serializers.CharField()
    model_sha256 = serializers.CharField()
    address = serializers.CharField()
    applied_generation = serializers.IntegerField()
    last_seen_at = serializers.DateTimeField()
    loaded = LoadedSerializer(many=True)
    running_requests = serializers.IntegerField()
    waiting_requests = serializers.IntegerField()
    slots = serializers.IntegerField(help_text="Requests that it runs at once; 0: it doesn't say.")
    usage_spooled = serializers.IntegerField()
    traffic_dropped = serializers.IntegerField()
    registered_at = serializers.DateTimeField()
    credential_issued_at = serializers.DateTimeField()
    credential_revoked_at = serializers.DateTimeField(allow_null=True)
    max_projects = serializers.IntegerField()
    placed_projects = serializers.IntegerField()
    adaptive_bytes = serializers.IntegerField(help_text="Memory for projects' own speculator versions.")
    resident_projects = serializers.IntegerField(help_text="Projects whose own version may be loaded.")
    usage_sequences = SequenceSerializer(many=True)


class NodeEventSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    actor = serializers.CharField()


class PlacementSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    project_id = serializers.CharField()
    organization_id = serializers.CharField()
    generation = serializers.IntegerField(help_text="A node that has applied it serves the project.")
    placed_at = serializers.DateTimeField()
    leaving_since = serializers.DateTimeField(
        allow_null=True, help_text="Routes don't name the node for this project any more."
    )
    is_resident = serializers.BooleanField(help_text="Whether the project's own speculator version may be loaded.")
    last_used_at = serializers.DateTimeField(allow_null=True)


class TokenCreate(StrictSerializer):
    node_name = serializers.CharField(
        max_length=120, allow_blank=True, default="", help_text="Only a node of this name; empty: any."
    )
    model = serializers.CharField(
        max_length=120, allow_blank=True, default="", help_text="Only a node of this target model; empty: any."
    )
    valid_seconds = serializers.IntegerField(min_value=60, max_value=LONGEST_TOKEN_SECONDS, default=3600)


class TokenSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    state = serializers.ChoiceField(TOKEN_STATES)
    node_name = serializers.CharField()
    model = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    expires_at = serializers.DateTimeField()
    used_at = serializers.DateTimeField(allow_null=True)
    used_by = serializers.CharField(source="used_by_id", allow_null=True, help_text="The node that it registered.")
    revoked_at = serializers.DateTimeField(allow_null=True)


class TokenWithSecret(TokenSerializer):
    token = serializers.CharField(help_text="Shown once.")


class OperatorEventSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    action = serializers.CharField()
    target = serializers.CharField()
    changes = serializers.JSONField()
    request_id = serializers.CharField()


class CapacitySerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    nodes = serializers.DictField(child=serializers.IntegerField(), help_text="Number of nodes by state.")
    ready_nodes = serializers.IntegerField(help_text="Nodes that answer requests.")
    max_projects = serializers.IntegerField(help_text="Over the nodes that take projects.")
    placed_projects = serializers.IntegerField(help_text="On those nodes; a project on two nodes counts twice.")
    adaptive_bytes = serializers.IntegerField()


class FleetCapacitySerializer(serializers.Serializer[Any]):
    models = CapacitySerializer(many=True)
