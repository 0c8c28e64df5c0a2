"""Endpoints, deployments and rollouts as the API reads and writes them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.common.pagination import PageQuery
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField
from control_plane.endpoints.models import (
    DESIRED_STATES,
    ENDPOINT_TRANSITIONS,
    MAX_REPLICAS,
    ROLLOUT_TRANSITIONS,
    SLUG,
    SPECULATION_MODES,
    STRATEGIES,
    TRIGGERS,
)
from control_plane.endpoints.rollout_plan import (
    MAX_MIN_REQUESTS,
    MAX_OBSERVE_SECONDS,
    MAX_STEPS,
    Plan,
    make_plan,
)
from control_plane.endpoints.services import undelete_until


class RolloutPlanBody(StrictSerializer):
    """How a change reaches the requests. What is not given is the strategy's default."""

    strategy = serializers.ChoiceField(
        STRATEGIES,
        help_text="immediate: at once. rolling: 25, 50, 75, 100 %, each observed for 30 s. canary: 5, 25, 50, 100 %, "
        "each for 300 s and 50 requests. Both abort themselves if the new deployment serves worse.",
    )
    steps_percent = serializers.ListField(
        child=serializers.FloatField(min_value=0.01, max_value=100),
        min_length=1,
        max_length=MAX_STEPS,
        required=False,
        help_text="Shares of the requests: rising, the last one 100.",
    )
    observe_seconds = serializers.IntegerField(min_value=0, max_value=MAX_OBSERVE_SECONDS, required=False)
    min_requests = serializers.IntegerField(
        min_value=0, max_value=MAX_MIN_REQUESTS, required=False, help_text="Of the new deployment, in each step."
    )


def plan_from(body: dict[str, Any] | None, default: str = "immediate") -> Plan:
    """The plan that a request asks for. Raises Invalid with the field's name."""
    return make_plan(**(body or {"strategy": default}))


class DeploymentPolicy(StrictSerializer):
    speculation_mode = serializers.ChoiceField(SPECULATION_MODES, required=False)
    max_lookahead = serializers.IntegerField(min_value=0, max_value=16, required=False)
    holdout_rate = serializers.FloatField(min_value=0, max_value=1, required=False)


class EndpointPolicy(DeploymentPolicy):
    min_replicas = serializers.IntegerField(
        min_value=1, max_value=MAX_REPLICAS, required=False, help_text="Ready nodes below which it is `degraded`."
    )
    max_replicas = serializers.IntegerField(
        min_value=1,
        max_value=MAX_REPLICAS,
        required=False,
        help_text="Nodes that it is placed on under load, if there are as many: see `desired_replicas`.",
    )


class EndpointUpdate(EndpointPolicy):
    rollout = RolloutPlanBody(required=False)


class EndpointUndelete(StrictSerializer):
    name = serializers.CharField(
        max_length=63, validators=[SLUG], required=False, help_text="A new name, where the old one is taken."
    )


class EndpointCreate(EndpointPolicy):
    project_id = TypedIdSerializerField("prj")
    name = serializers.CharField(max_length=63, validators=[SLUG], help_text="What clients send as `model`.")
    model = serializers.CharField(max_length=120, help_text="Id of a model of the catalogue.")


class EndpointQuery(PageQuery):
    project_id = TypedIdSerializerField("prj", required=False)
    deleted = serializers.BooleanField(default=False, help_text="Those that are deleted and can be brought back.")


class StateReason(serializers.Serializer[Any]):
    code = serializers.CharField(source="state_code")
    message = serializers.CharField(source="state_message")


class EndpointSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    project_id = serializers.CharField()
    name = serializers.CharField()
    model = serializers.CharField(source="model_id")
    desired_state = serializers.ChoiceField(DESIRED_STATES)
    state = serializers.ChoiceField(sorted(ENDPOINT_TRANSITIONS))
    state_reason = StateReason(source="*")
    state_changed_at = serializers.DateTimeField()
    speculation_mode = serializers.ChoiceField(SPECULATION_MODES)
    max_lookahead = serializers.IntegerField()
    holdout_rate = serializers.FloatField()
    min_replicas = serializers.IntegerField()
    max_replicas = serializers.IntegerField()
    desired_replicas = serializers.IntegerField(
        help_text="What the load asks for, from `min_replicas` to `max_replicas`: up at once, down one at a time after "
        "a quiet time. Each change is an event (`scaled`)."
    )
    ready_replicas = serializers.IntegerField(help_text="Nodes that serve it now.")
    deployment_id = serializers.CharField(help_text="The active deployment, which the policy above is of.")
    rollout_id = serializers.CharField(allow_null=True, help_text="The open rollout.")
    undelete_until = serializers.SerializerMethodField()
    generation = serializers.IntegerField()
    observed_generation = serializers.IntegerField()
    etag = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_undelete_until(self, endpoint: Any) -> str | None:
        until = undelete_until(endpoint)
        return None if until is None else serializers.DateTimeField().to_representation(until)


class EndpointEventSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    actor = serializers.CharField()


class DeploymentQuery(PageQuery):
    endpoint_id = TypedIdSerializerField("ep", required=False)


class DeploymentSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    project_id = serializers.CharField()
    endpoint_id = serializers.CharField()
    number = serializers.IntegerField()
    active = serializers.BooleanField(help_text="Whether the endpoint's policy is this one's.")
    weight_percent = serializers.FloatField(help_text="Its share of the endpoint's requests.")
    model = serializers.CharField(source="model_id")
    model_sha256 = serializers.CharField()
    engine = serializers.CharField()
    hardware = serializers.CharField()
    speculation_mode = serializers.ChoiceField(SPECULATION_MODES)
    max_lookahead = serializers.IntegerField()
    holdout_rate = serializers.FloatField()
    speculator_version_id = serializers.CharField(allow_null=True, help_text="Null: the promoted version.")
    created_at = serializers.DateTimeField()


class RolloutQuery(DeploymentQuery):
    state = serializers.ChoiceField(sorted(ROLLOUT_TRANSITIONS), required=False)


class RolloutDeployment(DeploymentPolicy):
    speculator_version_id = TypedIdSerializerField(
        "spv", required=False, allow_null=True, help_text="This version; null: whichever is promoted."
    )


class RolloutCreate(StrictSerializer):
    endpoint_id = TypedIdSerializerField("ep")
    deployment = RolloutDeployment(help_text="What the new deployment has otherwise than the active one.")
    rollout = RolloutPlanBody(required=False, help_text="Default: a canary.")


class RolloutAbort(StrictSerializer):
    reason = serializers.CharField(max_length=400, default="Aborted on request.")


class MeasureSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(["errors", "first_token", "per_token", "acceptance"])
    before = serializers.FloatField(help_text="Of the old deployment: a rate, seconds, or tokens per step.")
    after = serializers.FloatField(help_text="Of the new one.")
    change = serializers.FloatField(help_text="errors: the difference; else the ratio minus 1.")
    bound = serializers.FloatField(help_text="Confidence bound of the change, on the favourable side.")
    limit = serializers.FloatField(help_text="The new deployment is worse if the bound is beyond.")
    worse = serializers.BooleanField()


class CountedSerializer(serializers.Serializer[Any]):
    requests = serializers.IntegerField()
    failed = serializers.IntegerField()


class EvidenceSerializer(serializers.Serializer[Any]):
    before = CountedSerializer(help_text="The old deployment, since the first shift.")
    after = CountedSerializer(help_text="The new one.")
    requests_in_step = serializers.IntegerField()
    measures = MeasureSerializer(many=True)
    reason = serializers.CharField()


class RolloutSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    project_id = serializers.CharField()
    endpoint_id = serializers.CharField()
    source_deployment_id = serializers.CharField(source="source_id")
    target_deployment_id = serializers.CharField(source="target_id")
    trigger = serializers.ChoiceField(TRIGGERS)
    strategy = serializers.ChoiceField(STRATEGIES)
    state = serializers.ChoiceField(sorted(ROLLOUT_TRANSITIONS))
    state_reason = StateReason(source="*")
    state_changed_at = serializers.DateTimeField()
    steps_percent = serializers.SerializerMethodField()
    step = serializers.IntegerField(help_text="Steps that were begun.")
    observe_seconds = serializers.IntegerField()
    min_requests = serializers.IntegerField()
    hurried = serializers.BooleanField()
    evidence = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.ListField(child=serializers.FloatField()))
    def get_steps_percent(self, rollout: Any) -> list[float]:
        return [share / 100 for share in rollout.steps]

    @extend_schema_field(EvidenceSerializer(allow_null=True))
    def get_evidence(self, rollout: Any) -> dict[str, Any] | None:
        return rollout.evidence or None


class RolloutEventSerializer(EndpointEventSerializer):
    pass
