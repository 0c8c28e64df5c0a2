"""/api/v1: training runs, stored traffic and its deletion."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints.api import EndpointEventSerializer, StateReason
from control_plane.speculators.selectors import speculator as find_speculator
from control_plane.tenants.selectors import project as find_project
from control_plane.training import erasure, selectors, services
from control_plane.training.models import RunState


class TrainingRunSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    project_id = serializers.CharField()
    speculator_id = serializers.CharField()
    trigger = serializers.CharField()
    state = serializers.ChoiceField(RunState.values)
    state_reason = StateReason(source="*")
    state_changed_at = serializers.DateTimeField()
    attempts = serializers.IntegerField()
    phase = serializers.CharField()
    progress = serializers.FloatField()
    loss = serializers.FloatField(allow_null=True)
    heartbeat_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    inputs = serializers.JSONField(help_text="The frozen input: segments to learn from and held out.")
    consent = serializers.JSONField()
    incumbent_version_id = serializers.CharField(source="incumbent_id", allow_null=True)
    report = serializers.JSONField(allow_null=True, help_text="What the training process measured.")
    gate = serializers.JSONField(allow_null=True, help_text="The gate's decision: outcome, reason, gain and its bound.")
    speculator_version_id = serializers.CharField(source="version_id", allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class TrainingRunEventSerializer(EndpointEventSerializer):
    pass


class TrainingRunQuery(PageQuery):
    project_id = TypedIdSerializerField("prj", required=False)
    speculator_id = TypedIdSerializerField("spk", required=False)
    state = serializers.ChoiceField(RunState.values, required=False)


class TrainingRunCreate(StrictSerializer):
    speculator_id = TypedIdSerializerField("spk")


class TrafficSerializer(serializers.Serializer[Any]):
    segments = serializers.IntegerField()
    records = serializers.IntegerField()
    tokens = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)


class ErasureReceiptSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    project_id = serializers.CharField()
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    num_objects = serializers.IntegerField()
    num_records = serializers.IntegerField()
    retired_versions = serializers.ListField(child=serializers.CharField())


class TrainingRuns(ApiView):
    queries = {"get": TrainingRunQuery}

    @extend_schema(operation_id="list_training_runs", responses=page_schema(TrainingRunSerializer))
    def get(self, request: Request) -> Response:
        limits = {name: self.query.pop(name) for name in ("limit", "after") if name in self.query}
        found, cursor = page(selectors.runs(self.principal, **self.query), **limits)
        return Response(page_body(list(TrainingRunSerializer(found, many=True).data), cursor))

    @extend_schema(
        operation_id="create_training_run",
        request=TrainingRunCreate,
        responses={202: TrainingRunSerializer},
        description="Learn now, without waiting for more traffic. The gate decides as always.",
    )
    def post(self, request: Request) -> Response:
        body = read_body(TrainingRunCreate, request)
        speculator = find_speculator(self.principal, body["speculator_id"], "training:write")
        run = services.start_run(speculator, trigger="manual", actor=self.principal.actor)
        return Response(TrainingRunSerializer(run).data, status=202)


class TrainingRun(ApiView):
    @extend_schema(operation_id="read_training_run", responses=TrainingRunSerializer)
    def get(self, request: Request, run_id: str) -> Response:
        return Response(TrainingRunSerializer(selectors.run(self.principal, run_id)).data)


class Cancel(ApiView):
    @extend_schema(operation_id="cancel_training_run", request=None, responses={202: TrainingRunSerializer})
    def post(self, request: Request, run_id: str) -> Response:
        found = selectors.run(self.principal, run_id, "training:write")
        return Response(TrainingRunSerializer(services.cancel_run(found, actor=self.principal.actor)).data, status=202)


class Events(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_training_run_events", responses=page_schema(TrainingRunEventSerializer))
    def get(self, request: Request, run_id: str) -> Response:
        rows, cursor = page(selectors.events_of(selectors.run(self.principal, run_id)), **self.query)
        return Response(page_body(list(TrainingRunEventSerializer(rows, many=True).data), cursor))


class Traffic(ApiView):
    @extend_schema(operation_id="read_traffic", responses=TrafficSerializer)
    def get(self, request: Request, project_id: str) -> Response:
        project = find_project(self.principal, project_id, "traffic_policy:read")
        return Response(TrafficSerializer(selectors.traffic_summary(project)).data)

    @extend_schema(
        operation_id="delete_traffic",
        responses={202: ErasureReceiptSerializer},
        description="Delete the project's stored traffic and retire every version that learned from it.",
    )
    def delete(self, request: Request, project_id: str) -> Response:
        project = find_project(self.principal, project_id, "traffic:delete")
        receipt = erasure.request_erasure(project, actor=self.principal.actor, request_id=self.request_id)
        return Response(ErasureReceiptSerializer(receipt).data, status=202)


class Erasures(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_traffic_erasures", responses=page_schema(ErasureReceiptSerializer))
    def get(self, request: Request, project_id: str) -> Response:
        project = find_project(self.principal, project_id, "traffic_policy:read")
        rows, cursor = page(selectors.erasures(project), **self.query)
        return Response(page_body(list(ErasureReceiptSerializer(rows, many=True).data), cursor))


urlpatterns = [
    path("training-runs", TrainingRuns.as_view()),
    path("training-runs/<str:run_id>", TrainingRun.as_view()),
    path("training-runs/<str:run_id>/cancel", Cancel.as_view()),
    path("training-runs/<str:run_id>/events", Events.as_view()),
    path("projects/<str:project_id>/traffic", Traffic.as_view()),
    path("projects/<str:project_id>/traffic-erasures", Erasures.as_view()),
]
