"""/api/v1: consent, speculators and their versions."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints.serializers import EndpointEventSerializer, RolloutPlanBody, StateReason, plan_from
from control_plane.speculators import canary, selectors, services
from control_plane.speculators.models import (
    COALESCE_BOUNDS,
    COALESCING,
    MAX_RETENTION_DAYS,
    MEMORY_SCOPES,
    PROMOTIONS,
    REDACTIONS,
    STRATEGIES,
    VersionState,
)
from control_plane.speculators.models import Speculator as SpeculatorRow
from control_plane.tenants.selectors import project as find_project


def _bounds(name: str) -> dict[str, Any]:
    low, high = COALESCE_BOUNDS[name]
    return {"min_value": low, "max_value": high}


class TrafficPolicyBody(StrictSerializer):
    capture = serializers.BooleanField(help_text="Consent: may requests be kept for training?")
    sample_rate = serializers.FloatField(min_value=0, max_value=1, default=1.0)
    retention_days = serializers.IntegerField(min_value=1, max_value=MAX_RETENTION_DAYS, default=30)
    redaction = serializers.ChoiceField(
        REDACTIONS,
        default="drop",
        help_text="Before storage: `drop` records with secrets or personal data, `mask` these, or `off`.",
    )
    memory_scope = serializers.ChoiceField(
        MEMORY_SCOPES,
        default="project",
        help_text="Who shares what the tenant memory learns; `end_user`: requests with the same `user`.",
    )
    stream_coalescing = serializers.ChoiceField(
        COALESCING,
        default="none",
        help_text="Hides what a step accepted: parts of `coalesce_tokens`, or one in `coalesce_milliseconds`.",
    )
    coalesce_tokens = serializers.IntegerField(**_bounds("coalesce_tokens"), default=16)
    coalesce_milliseconds = serializers.IntegerField(**_bounds("coalesce_milliseconds"), default=100)


class TrafficPolicySerializer(serializers.Serializer[Any]):
    project_id = serializers.CharField()
    capture = serializers.BooleanField()
    sample_rate = serializers.FloatField()
    retention_days = serializers.IntegerField()
    redaction = serializers.ChoiceField(REDACTIONS)
    memory_scope = serializers.ChoiceField(MEMORY_SCOPES)
    stream_coalescing = serializers.ChoiceField(COALESCING)
    coalesce_tokens = serializers.IntegerField()
    coalesce_milliseconds = serializers.IntegerField()
    erased_before = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField(allow_null=True)


class SpeculatorPolicySerializer(serializers.Serializer[Any]):
    """How the speculator adapts. Null: the service's default."""

    promotion = serializers.ChoiceField(PROMOTIONS)
    strategy = serializers.ChoiceField(STRATEGIES)
    min_gain = serializers.FloatField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    min_heldout_records = serializers.IntegerField(allow_null=True)
    max_drop = serializers.FloatField(allow_null=True)
    every_hours = serializers.IntegerField(allow_null=True)


class SpeculatorSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    project_id = serializers.CharField()
    model = serializers.CharField(source="model_id")
    frozen = serializers.BooleanField()
    policy = SpeculatorPolicySerializer(source="*")
    active_version_id = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_active_version_id(self, speculator: Any) -> str | None:
        return next((version.id for version in speculator.active_versions), None)


class SpeculatorVersionSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    project_id = serializers.CharField()
    speculator_id = serializers.CharField()
    number = serializers.IntegerField()
    state = serializers.ChoiceField(VersionState.values)
    state_reason = StateReason(source="*")
    state_changed_at = serializers.DateTimeField()
    parent_id = serializers.CharField(allow_null=True)
    training_run_id = serializers.CharField(allow_null=True)
    sha256 = serializers.CharField()
    size_bytes = serializers.IntegerField()
    static_sha256 = serializers.CharField()
    manifest_key = serializers.CharField()
    manifest_sha256 = serializers.CharField()
    window_start = serializers.DateTimeField(allow_null=True)
    window_end = serializers.DateTimeField(allow_null=True)
    sample_count = serializers.IntegerField()
    consent = serializers.JSONField()
    lineage = serializers.JSONField(
        help_text="The digest of the input, how much it was, and how many records were captured under which policy."
    )
    evaluation = serializers.JSONField(
        help_text="Held-out replay by arm (candidate, static, incumbent); `interval` bounds its acceptance length."
    )
    gate = serializers.JSONField(
        help_text="The gate's decision: outcome, reason, gain with its bounds, and the thresholds it was judged by."
    )
    created_at = serializers.DateTimeField()
    promoted_at = serializers.DateTimeField(allow_null=True)


class SpeculatorVersionEventSerializer(EndpointEventSerializer):
    pass


class SpeculatorQuery(PageQuery):
    project_id = TypedIdSerializerField("prj", required=False)


class SpeculatorVersionQuery(SpeculatorQuery):
    speculator_id = TypedIdSerializerField("spk", required=False)
    state = serializers.ChoiceField(VersionState.values, required=False)


class PromoteBody(StrictSerializer):
    rollout = RolloutPlanBody(required=False)


class RollbackBody(StrictSerializer):
    reason = serializers.CharField(max_length=400, default="Rolled back on request.")


class TrafficPolicy(ApiView):
    @extend_schema(operation_id="read_traffic_policy", responses=TrafficPolicySerializer)
    def get(self, request: Request, project_id: str) -> Response:
        return Response(TrafficPolicySerializer(selectors.traffic_policy(self.principal, project_id)).data)

    @extend_schema(
        operation_id="set_traffic_policy",
        request=TrafficPolicyBody,
        responses=TrafficPolicySerializer,
        description="Give or withdraw the consent to train on the project's traffic. Off by default.",
    )
    def put(self, request: Request, project_id: str) -> Response:
        project = find_project(self.principal, project_id, "traffic_policy:write")
        body = read_body(TrafficPolicyBody, request)
        policy = services.set_traffic_policy(project, actor=self.principal.actor, request_id=self.request_id, **body)
        return Response(TrafficPolicySerializer(policy).data)


class Speculators(ApiView):
    queries = {"get": SpeculatorQuery}

    @extend_schema(operation_id="list_speculators", responses=page_schema(SpeculatorSerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.speculators(self.principal, project_id=self.query.pop("project_id", None))
        found, cursor = page(rows, **self.query)
        return Response(page_body(list(SpeculatorSerializer(found, many=True).data), cursor))


class Speculator(ApiView):
    @extend_schema(operation_id="read_speculator", responses=SpeculatorSerializer)
    def get(self, request: Request, speculator_id: str) -> Response:
        return Response(SpeculatorSerializer(selectors.speculator(self.principal, speculator_id)).data)


class Rollback(ApiView):
    @extend_schema(
        operation_id="rollback_speculator",
        request=RollbackBody,
        responses=SpeculatorSerializer,
        description="Return to the last good version before the active one; without one, to the static speculator.",
    )
    def post(self, request: Request, speculator_id: str) -> Response:
        found = selectors.speculator(self.principal, speculator_id, "speculator:write")
        body = read_body(RollbackBody, request)
        services.rollback(found, actor=self.principal.actor, message=body["reason"], request_id=self.request_id)
        return _shown(self, found)


class Freeze(ApiView):
    @extend_schema(
        operation_id="freeze_speculator",
        request=None,
        responses=SpeculatorSerializer,
        description="No training, no automatic promotion or rollback, until it is thawed. A person still may promote "
        "and roll back.",
    )
    def post(self, request: Request, speculator_id: str) -> Response:
        found = selectors.speculator(self.principal, speculator_id, "speculator:write")
        services.set_frozen(found, True, actor=self.principal.actor, request_id=self.request_id)
        return _shown(self, found)


class Thaw(ApiView):
    @extend_schema(
        operation_id="thaw_speculator",
        request=None,
        responses=SpeculatorSerializer,
        description="Learn again. This also unpins: the pinned version stays until a better one is promoted.",
    )
    def post(self, request: Request, speculator_id: str) -> Response:
        found = selectors.speculator(self.principal, speculator_id, "speculator:write")
        services.set_frozen(found, False, actor=self.principal.actor, request_id=self.request_id)
        return _shown(self, found)


def _shown(view: ApiView, speculator: SpeculatorRow) -> Response:
    return Response(SpeculatorSerializer(selectors.speculator(view.principal, speculator.id)).data)


class SpeculatorVersions(ApiView):
    queries = {"get": SpeculatorVersionQuery}

    @extend_schema(operation_id="list_speculator_versions", responses=page_schema(SpeculatorVersionSerializer))
    def get(self, request: Request) -> Response:
        limits = {name: self.query.pop(name) for name in ("limit", "after") if name in self.query}
        found, cursor = page(selectors.versions(self.principal, **self.query), **limits)
        return Response(page_body(list(SpeculatorVersionSerializer(found, many=True).data), cursor))


class SpeculatorVersion(ApiView):
    @extend_schema(operation_id="read_speculator_version", responses=SpeculatorVersionSerializer)
    def get(self, request: Request, version_id: str) -> Response:
        return Response(SpeculatorVersionSerializer(selectors.version(self.principal, version_id)).data)


class Promote(ApiView):
    @extend_schema(
        operation_id="promote_speculator_version",
        request=PromoteBody,
        responses=SpeculatorVersionSerializer,
        description="Make the version the live one: as `rollout` says, else as the speculator's policy does. A canary "
        "shifts the requests of one endpoint step by step; the version is `canary` meanwhile, and `active` or "
        "`quarantined` afterwards.",
    )
    def post(self, request: Request, version_id: str) -> Response:
        found = selectors.version(self.principal, version_id, "speculator:write")
        plan = plan_from(read_body(PromoteBody, request).get("rollout"), found.speculator.strategy)
        said = {"actor": self.principal.actor, "message": "Promoted on request.", "request_id": self.request_id}
        if plan.strategy == "immediate":
            changed = services.promote(found, **said)
        else:
            changed = canary.start(found, plan, **said)
        return Response(SpeculatorVersionSerializer(changed).data)


class Pin(ApiView):
    @extend_schema(
        operation_id="pin_speculator_version",
        request=None,
        responses=SpeculatorVersionSerializer,
        description="Promote this version and freeze its speculator.",
    )
    def post(self, request: Request, version_id: str) -> Response:
        found = selectors.version(self.principal, version_id, "speculator:write")
        changed = services.pin(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(SpeculatorVersionSerializer(changed).data)


class Events(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(
        operation_id="list_speculator_version_events", responses=page_schema(SpeculatorVersionEventSerializer)
    )
    def get(self, request: Request, version_id: str) -> Response:
        rows, cursor = page(selectors.events_of(selectors.version(self.principal, version_id)), **self.query)
        return Response(page_body(list(SpeculatorVersionEventSerializer(rows, many=True).data), cursor))


urlpatterns = [
    path("projects/<str:project_id>/traffic-policy", TrafficPolicy.as_view()),
    path("speculators", Speculators.as_view()),
    path("speculators/<str:speculator_id>", Speculator.as_view()),
    path("speculators/<str:speculator_id>/rollback", Rollback.as_view()),
    path("speculators/<str:speculator_id>/freeze", Freeze.as_view()),
    path("speculators/<str:speculator_id>/thaw", Thaw.as_view()),
    path("speculator-versions", SpeculatorVersions.as_view()),
    path("speculator-versions/<str:version_id>", SpeculatorVersion.as_view()),
    path("speculator-versions/<str:version_id>/promote", Promote.as_view()),
    path("speculator-versions/<str:version_id>/pin", Pin.as_view()),
    path("speculator-versions/<str:version_id>/events", Events.as_view()),
]
