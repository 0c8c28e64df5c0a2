"""/api/v1: the model catalogue and endpoints."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import Invalid
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints import selectors, services
from control_plane.endpoints.models import DESIRED_STATES, ENDPOINT_TRANSITIONS, SLUG, SPECULATION_MODES
from control_plane.endpoints.models import Endpoint as EndpointRow
from control_plane.tenants.selectors import project as find_project


class ModelSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    context_length = serializers.IntegerField()
    parameters = serializers.IntegerField()
    license = serializers.CharField()
    sha256 = serializers.CharField()


class EndpointPolicy(StrictSerializer):
    speculation_mode = serializers.ChoiceField(SPECULATION_MODES, required=False)
    max_lookahead = serializers.IntegerField(min_value=0, max_value=16, required=False)
    holdout_rate = serializers.FloatField(min_value=0, max_value=1, required=False)


class EndpointCreate(EndpointPolicy):
    project_id = TypedIdSerializerField("prj")
    name = serializers.CharField(max_length=63, validators=[SLUG], help_text="What clients send as `model`.")
    model = serializers.CharField(max_length=120, help_text="Id of a model of the catalogue.")


class EndpointQuery(PageQuery):
    project_id = TypedIdSerializerField("prj", required=False)


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
    generation = serializers.IntegerField()
    observed_generation = serializers.IntegerField()
    etag = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class EndpointEventSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    actor = serializers.CharField()


class Models(ApiView):
    @extend_schema(operation_id="list_models", responses=page_schema(ModelSerializer))
    def get(self, request: Request) -> Response:
        return Response(page_body(ModelSerializer(selectors.catalogue(), many=True).data, None))


class Model(ApiView):
    @extend_schema(operation_id="read_model", responses=ModelSerializer)
    def get(self, request: Request, model_id: str) -> Response:
        return Response(ModelSerializer(selectors.catalogue_model(model_id)).data)


def _shown(endpoint: EndpointRow, status: int = 200) -> Response:
    return Response(EndpointSerializer(endpoint).data, status=status, headers={"ETag": endpoint.etag})


class Endpoints(ApiView):
    queries = {"get": EndpointQuery}

    @extend_schema(operation_id="list_endpoints", responses=page_schema(EndpointSerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.endpoints(self.principal, project_id=self.query.pop("project_id", None))
        found, cursor = page(rows, **self.query)
        return Response(page_body(EndpointSerializer(found, many=True).data, cursor))

    @extend_schema(
        operation_id="create_endpoint",
        request=EndpointCreate,
        responses={202: EndpointSerializer},
        description="The endpoint starts by itself; watch `state`.",
    )
    def post(self, request: Request) -> Response:
        body = read_body(EndpointCreate, request)
        project = find_project(self.principal, body.pop("project_id"), "endpoint:write")
        model = selectors.catalogue().filter(pk=body.pop("model")).first()
        if model is None:
            raise Invalid("There is no such model in the catalogue.", code="unknown_model", pointer="/model")
        made = services.create_endpoint(
            project, model=model, actor=self.principal.actor, request_id=self.request_id, **body
        )
        return _shown(made, 202)


class Endpoint(ApiView):
    conditional = {"patch": True, "delete": False}

    @extend_schema(operation_id="read_endpoint", responses=EndpointSerializer)
    def get(self, request: Request, endpoint_id: str) -> Response:
        return _shown(selectors.endpoint(self.principal, endpoint_id))

    @extend_schema(
        operation_id="update_endpoint",
        request=EndpointPolicy,
        responses=EndpointSerializer,
        description="Change the speculation policy. `If-Match` is required.",
    )
    def patch(self, request: Request, endpoint_id: str) -> Response:
        found = selectors.endpoint(self.principal, endpoint_id, "endpoint:write")
        if_match = self.if_match(request)
        changes = read_body(EndpointPolicy, request)
        return _shown(
            services.update_endpoint(
                found, changes, actor=self.principal.actor, if_match=if_match, request_id=self.request_id
            )
        )

    @extend_schema(operation_id="delete_endpoint", responses={202: EndpointSerializer})
    def delete(self, request: Request, endpoint_id: str) -> Response:
        return _set_desired(self, request, endpoint_id, "deleted")


def _set_desired(view: ApiView, request: Request, endpoint_id: str, desired: str) -> Response:
    found = selectors.endpoint(view.principal, endpoint_id, "endpoint:write")
    changed = services.set_desired_state(
        found,
        desired,
        actor=view.principal.actor,
        if_match=view.if_match(request, required=False),
        request_id=view.request_id,
    )
    return _shown(changed, 202)


class Start(ApiView):
    conditional = {"post": False}

    @extend_schema(operation_id="start_endpoint", request=None, responses={202: EndpointSerializer})
    def post(self, request: Request, endpoint_id: str) -> Response:
        return _set_desired(self, request, endpoint_id, "running")


class Stop(ApiView):
    conditional = {"post": False}

    @extend_schema(operation_id="stop_endpoint", request=None, responses={202: EndpointSerializer})
    def post(self, request: Request, endpoint_id: str) -> Response:
        return _set_desired(self, request, endpoint_id, "stopped")


class Events(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_endpoint_events", responses=page_schema(EndpointEventSerializer))
    def get(self, request: Request, endpoint_id: str) -> Response:
        rows, cursor = page(selectors.events_of(selectors.endpoint(self.principal, endpoint_id)), **self.query)
        return Response(page_body(EndpointEventSerializer(rows, many=True).data, cursor))


urlpatterns = [
    path("models", Models.as_view()),
    path("models/<str:model_id>", Model.as_view()),
    path("endpoints", Endpoints.as_view()),
    path("endpoints/<str:endpoint_id>", Endpoint.as_view()),
    path("endpoints/<str:endpoint_id>/start", Start.as_view()),
    path("endpoints/<str:endpoint_id>/stop", Stop.as_view()),
    path("endpoints/<str:endpoint_id>/events", Events.as_view()),
]
