"""/api/v1: how a speculator adapts, what happened to it, and its versions as evidence and as files."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.object_store import public_object_store
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.speculators import selectors, services
from control_plane.speculators.api import SpeculatorPolicySerializer, SpeculatorVersionSerializer
from control_plane.speculators.comparison import compare
from control_plane.speculators.export import URL_SECONDS, export_version
from control_plane.speculators.models import POLICY_BOUNDS, PROMOTIONS, STRATEGIES, AdaptationKind
from control_plane.speculators.policy import SpeculatorPolicy, policy_of, set_policy
from control_plane.speculators.timeline import history


def _bounded(kind: type[Any], name: str, help_text: str) -> Any:
    low, high = (type(bound)(bound) for bound in POLICY_BOUNDS[name])
    return kind(min_value=low, max_value=high, allow_null=True, default=None, help_text=help_text)


class SpeculatorPolicyBody(StrictSerializer):
    """The whole policy: what is left out becomes the default."""

    promotion = serializers.ChoiceField(
        PROMOTIONS, default="auto", help_text="manual: a version that passed the gate stays eligible and waits for you."
    )
    strategy = serializers.ChoiceField(
        STRATEGIES, default="immediate", help_text="canary: shift traffic step by step, and back if it serves worse."
    )
    min_gain = _bounded(serializers.FloatField, "min_gain", "Share of target forwards that a candidate must save.")
    confidence = _bounded(serializers.FloatField, "confidence", "One-sided confidence of that statement.")
    min_heldout_records = _bounded(
        serializers.IntegerField, "min_heldout_records", "So many requests are held out and replayed at least."
    )
    max_drop = _bounded(
        serializers.FloatField,
        "max_drop",
        "Share of the evaluated acceptance length that may be lost in service before it is rolled back.",
    )
    every_hours = _bounded(
        serializers.IntegerField, "every_hours", "Train by the clock, if anything is new; null: by new traffic alone."
    )


class AdaptationEventSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(AdaptationKind.values)
    message = serializers.CharField()
    speculator_version_id = serializers.CharField(source="version_id", allow_null=True)
    training_run_id = serializers.CharField(allow_null=True)
    actor = serializers.CharField()


class ExportedFileSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    url = serializers.CharField()
    sha256 = serializers.CharField()
    size_bytes = serializers.IntegerField(allow_null=True)


class VersionExportSerializer(serializers.Serializer[Any]):
    speculator_version_id = serializers.CharField()
    expires_at = serializers.DateTimeField()
    files = ExportedFileSerializer(many=True)


class ComparedArmSerializer(serializers.Serializer[Any]):
    acceptance_length = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    num_records = serializers.IntegerField()


class LiveWindowSerializer(serializers.Serializer[Any]):
    steps = serializers.IntegerField()
    acceptance_length = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)


class ComparedVersionSerializer(serializers.Serializer[Any]):
    version_id = serializers.CharField(source="version.id")
    number = serializers.IntegerField(source="version.number")
    state = serializers.CharField(source="version.state")
    size_bytes = serializers.IntegerField(source="version.size_bytes")
    sample_count = serializers.IntegerField(source="version.sample_count")
    window_start = serializers.DateTimeField(source="version.window_start", allow_null=True)
    window_end = serializers.DateTimeField(source="version.window_end", allow_null=True)
    evaluation = serializers.DictField(child=ComparedArmSerializer())
    gain_over_static = serializers.FloatField(allow_null=True)
    live = LiveWindowSerializer()


class ComparisonSerializer(serializers.Serializer[Any]):
    version = ComparedVersionSerializer()
    other = ComparedVersionSerializer(allow_null=True)
    same_static = serializers.BooleanField()
    is_ancestor = serializers.BooleanField()


# `with` is a word of Python: a class statement can't name a field so.
CompareQuery = type(
    "CompareQuery",
    (StrictSerializer,),
    {"with": TypedIdSerializerField("spv", required=False, help_text="Without it: the version's parent.")},
)


class RetireBody(StrictSerializer):
    reason = serializers.CharField(max_length=400, default="Retired by hand.")


class Policy(ApiView):
    @extend_schema(operation_id="read_speculator_policy", responses=SpeculatorPolicySerializer)
    def get(self, request: Request, speculator_id: str) -> Response:
        found = selectors.speculator(self.principal, speculator_id)
        return Response(SpeculatorPolicySerializer(policy_of(found)).data)

    @extend_schema(
        operation_id="set_speculator_policy",
        request=SpeculatorPolicyBody,
        responses=SpeculatorPolicySerializer,
        description="Replace the policy. A run keeps the thresholds that it was judged by in its gate.",
    )
    def put(self, request: Request, speculator_id: str) -> Response:
        found = selectors.speculator(self.principal, speculator_id, "speculator:write")
        wanted = SpeculatorPolicy(**read_body(SpeculatorPolicyBody, request))
        set_policy(found, wanted, actor=self.principal.actor, request_id=self.request_id)
        return Response(SpeculatorPolicySerializer(wanted).data)


class History(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(
        operation_id="list_speculator_events",
        responses=page_schema(AdaptationEventSerializer),
        description="Everything that happened to the speculator, newest first: training, gate, promotions, drift.",
    )
    def get(self, request: Request, speculator_id: str) -> Response:
        rows, cursor = page(history(selectors.speculator(self.principal, speculator_id)), **self.query)
        return Response(page_body(list(AdaptationEventSerializer(rows, many=True).data), cursor))


class Export(ApiView):
    @extend_schema(
        operation_id="export_speculator_version",
        responses=VersionExportSerializer,
        description=f"Signed URLs, valid for {URL_SECONDS} seconds, of the artifact (safetensors) and its signed "
        "manifest. Audited.",
    )
    def get(self, request: Request, version_id: str) -> Response:
        found = selectors.version(self.principal, version_id, "speculator:export")
        export = export_version(found, public_object_store(), actor=self.principal.actor, request_id=self.request_id)
        return Response(VersionExportSerializer(export).data)


class Compare(ApiView):
    queries = {"get": CompareQuery}

    @extend_schema(
        operation_id="compare_speculator_versions",
        responses=ComparisonSerializer,
        description="Each version's evaluation on its own held-out traffic, and its last day in service.",
    )
    def get(self, request: Request, version_id: str) -> Response:
        found = selectors.version(self.principal, version_id)
        wanted = self.query.get("with", found.parent_id)
        other = selectors.version(self.principal, wanted) if wanted else None
        return Response(ComparisonSerializer(compare(found, other)).data)


class Retire(ApiView):
    @extend_schema(
        operation_id="retire_speculator_version",
        request=RetireBody,
        responses=SpeculatorVersionSerializer,
        description="The version never serves again. If it was active, the static speculator takes over.",
    )
    def post(self, request: Request, version_id: str) -> Response:
        found = selectors.version(self.principal, version_id, "speculator:write")
        reason = read_body(RetireBody, request)["reason"]
        changed = services.retire(
            found, actor=self.principal.actor, code="retired", message=reason, request_id=self.request_id
        )
        return Response(SpeculatorVersionSerializer(changed).data)


urlpatterns = [
    path("speculators/<str:speculator_id>/policy", Policy.as_view()),
    path("speculators/<str:speculator_id>/events", History.as_view()),
    path("speculator-versions/<str:version_id>/export", Export.as_view()),
    path("speculator-versions/<str:version_id>/compare", Compare.as_view()),
    path("speculator-versions/<str:version_id>/retire", Retire.as_view()),
]
