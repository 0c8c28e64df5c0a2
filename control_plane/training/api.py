"""/api/v1: training runs, stored traffic and its deletion."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.object_store import object_store
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints.api import EndpointEventSerializer, StateReason
from control_plane.speculators.selectors import speculator as find_speculator
from control_plane.tenants.selectors import project as find_project
from control_plane.training import erasure, selectors, services
from control_plane.training.config import training_config
from control_plane.training.estimate import estimate
from control_plane.training.export import MAX_RECORDS, export_traffic
from control_plane.training.losses import MAX_POINTS
from control_plane.training.models import RunState
from control_plane.training.models import TrainingRun as TrainingRunRow


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
    training_milliseconds = serializers.IntegerField(help_text="Of the training process, over all attempts: metered.")
    heartbeat_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    inputs = serializers.JSONField(help_text="The frozen input: segments to learn from and held out.")
    consent = serializers.JSONField()
    lineage = serializers.JSONField(help_text="As the version's, known once the input was read.")
    incumbent_version_id = serializers.CharField(source="incumbent_id", allow_null=True)
    report = serializers.JSONField(allow_null=True, help_text="What the training process measured.")
    gate = serializers.JSONField(allow_null=True, help_text="The gate's decision: outcome, reason, gain and its bound.")
    speculator_version_id = serializers.CharField(source="version_id", allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class LossPointSerializer(serializers.Serializer[Any]):
    seconds = serializers.FloatField(help_text="Since the training process began.")
    loss = serializers.FloatField()


class TrainingRunDetailSerializer(TrainingRunSerializer):
    loss_series = serializers.SerializerMethodField()

    @extend_schema_field(LossPointSerializer(many=True))
    def get_loss_series(self, run: TrainingRunRow) -> list[dict[str, float]]:
        return [{"seconds": seconds, "loss": loss} for seconds, loss in run.loss_series]


class TrainingEstimateSerializer(serializers.Serializer[Any]):
    records = serializers.IntegerField()
    new_records = serializers.IntegerField()
    seconds = serializers.IntegerField(help_text="The mean of the last runs; the limit if there are none.")
    max_seconds = serializers.IntegerField()
    measured_runs = serializers.IntegerField()
    price_per_hour_microdollars = serializers.IntegerField()
    cost_microdollars = serializers.IntegerField()
    max_cost_microdollars = serializers.IntegerField()
    runs_today = serializers.IntegerField()
    max_runs_per_day = serializers.IntegerField()
    seconds_today = serializers.IntegerField()
    max_seconds_per_day = serializers.IntegerField()
    refusal = serializers.CharField(allow_null=True, help_text="Why a run can't be started now; null: it can.")


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
    end_user_id = serializers.CharField(help_text="Whose traffic it was; empty: everybody's.")
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    num_objects = serializers.IntegerField(help_text="Objects deleted, or rewritten without the end user's records.")
    num_records = serializers.IntegerField()
    retired_versions = serializers.ListField(child=serializers.CharField())


class EndUserErasureBody(StrictSerializer):
    end_user = serializers.CharField(
        max_length=1024,
        trim_whitespace=False,
        help_text="As the requests named it (`user`, `safety_identifier`). It is not stored.",
    )


class TrafficExportQuery(StrictSerializer):
    after = serializers.IntegerField(
        min_value=0, max_value=2**62, default=0, help_text="`x-slipstream-next-after` of the part before."
    )
    end_user_id = serializers.RegexField(
        r"^eu_[0-9a-f]{32}$", required=False, help_text="Only this end user's: see `x-slipstream-end-user` of answers."
    )


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
        description="Learn now, without waiting for more traffic. The gate decides as always. Projects take turns on "
        "the workers; a project that used up its share of 24 hours is refused (`training_quota`).",
    )
    def post(self, request: Request) -> Response:
        body = read_body(TrainingRunCreate, request)
        speculator = find_speculator(self.principal, body["speculator_id"], "training:write")
        run = services.start_run(speculator, trigger="manual", actor=self.principal.actor, request_id=self.request_id)
        return Response(TrainingRunSerializer(run).data, status=202)


class Estimate(ApiView):
    @extend_schema(
        operation_id="estimate_training",
        responses=TrainingEstimateSerializer,
        description="What a training run would read, take and cost, before it is started.",
    )
    def get(self, request: Request, speculator_id: str) -> Response:
        found = find_speculator(self.principal, speculator_id, "training:read")
        return Response(TrainingEstimateSerializer(estimate(found, training_config())).data)


class TrainingRun(ApiView):
    @extend_schema(
        operation_id="read_training_run",
        responses=TrainingRunDetailSerializer,
        description=f"With the loss as it falls: at most {MAX_POINTS} points, spread over the whole run.",
    )
    def get(self, request: Request, run_id: str) -> Response:
        return Response(TrainingRunDetailSerializer(selectors.run(self.principal, run_id)).data)


class Cancel(ApiView):
    @extend_schema(operation_id="cancel_training_run", request=None, responses={202: TrainingRunSerializer})
    def post(self, request: Request, run_id: str) -> Response:
        found = selectors.run(self.principal, run_id, "training:write")
        changed = services.cancel_run(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(TrainingRunSerializer(changed).data, status=202)


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
        self.principal.require_recent_authentication()
        receipt = erasure.request_erasure(project, actor=self.principal.actor, request_id=self.request_id)
        return Response(ErasureReceiptSerializer(receipt).data, status=202)


class Erasures(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_traffic_erasures", responses=page_schema(ErasureReceiptSerializer))
    def get(self, request: Request, project_id: str) -> Response:
        project = find_project(self.principal, project_id, "traffic_policy:read")
        rows, cursor = page(selectors.erasures(project), **self.query)
        return Response(page_body(list(ErasureReceiptSerializer(rows, many=True).data), cursor))

    @extend_schema(
        operation_id="delete_end_user_traffic",
        request=EndUserErasureBody,
        responses={202: ErasureReceiptSerializer},
        description="Delete what one end user sent, and every version that learned from it. Nodes forget what the "
        "project's memory learned.",
    )
    def post(self, request: Request, project_id: str) -> Response:
        project = find_project(self.principal, project_id, "traffic:delete")
        self.principal.require_recent_authentication()
        body = read_body(EndUserErasureBody, request)
        receipt = erasure.request_end_user_erasure(
            project, body["end_user"], actor=self.principal.actor, request_id=self.request_id
        )
        return Response(ErasureReceiptSerializer(receipt).data, status=202)


class Export(ApiView):
    queries = {"get": TrafficExportQuery}

    @extend_schema(
        operation_id="export_traffic",
        responses={(200, "application/jsonl"): OpenApiResponse(str)},
        description=f"The stored records, at least {MAX_RECORDS} where there are as many: go on with the header "
        "`x-slipstream-next-after` as `after` until it is missing. Text beside the tokens where this service has the "
        "model's vocabulary. Audited.",
    )
    def get(self, request: Request, project_id: str) -> HttpResponse:
        project = find_project(self.principal, project_id, "traffic:export")
        self.principal.require_recent_authentication()
        part = export_traffic(
            project,
            object_store(),
            models_dir=training_config().models_dir,
            actor=self.principal.actor,
            request_id=self.request_id,
            **self.query,
        )
        headers = {"Content-Disposition": f'attachment; filename="traffic-{project.id}.jsonl"'}
        if part.next_after is not None:
            headers["x-slipstream-next-after"] = str(part.next_after)
        return HttpResponse(part.content, content_type="application/jsonl; charset=utf-8", headers=headers)


urlpatterns = [
    path("speculators/<str:speculator_id>/training-estimate", Estimate.as_view()),
    path("training-runs", TrainingRuns.as_view()),
    path("training-runs/<str:run_id>", TrainingRun.as_view()),
    path("training-runs/<str:run_id>/cancel", Cancel.as_view()),
    path("training-runs/<str:run_id>/events", Events.as_view()),
    path("projects/<str:project_id>/traffic", Traffic.as_view()),
    path("projects/<str:project_id>/traffic-erasures", Erasures.as_view()),
    path("projects/<str:project_id>/traffic-export", Export.as_view()),
]
