"""/api/v1/endpoints."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import Invalid
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import read_body
from control_plane.common.views import ApiView
from control_plane.endpoints import selectors, services
from control_plane.endpoints.models import Endpoint as EndpointRow
from control_plane.endpoints.serializers import (
    EndpointCreate,
    EndpointEventSerializer,
    EndpointQuery,
    EndpointSerializer,
    EndpointUndelete,
    EndpointUpdate,
    StateReason,
    plan_from,
)
from control_plane.tenants.selectors import project as find_project

__all__ = ["EndpointEventSerializer", "StateReason", "urlpatterns"]


def _shown(view: ApiView, endpoint: EndpointRow, status: int = 200) -> Response:
    """As it is now, with its deployment and its open rollout."""
    found = selectors.endpoint(view.principal, endpoint.id)
    return Response(EndpointSerializer(found).data, status=status, headers={"ETag": found.etag})


class Endpoints(ApiView):
    queries = {"get": EndpointQuery}

    @extend_schema(operation_id="list_endpoints", responses=page_schema(EndpointSerializer))
    def get(self, request: Request) -> Response:
        wanted = {"project_id": self.query.pop("project_id", None), "deleted": self.query.pop("deleted")}
        rows = selectors.endpoints(self.principal, **wanted)
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
        return _shown(self, made, 202)


class Endpoint(ApiView):
    conditional = {"patch": True, "delete": False}

    @extend_schema(operation_id="read_endpoint", responses=EndpointSerializer)
    def get(self, request: Request, endpoint_id: str) -> Response:
        return _shown(self, selectors.endpoint(self.principal, endpoint_id))

    @extend_schema(
        operation_id="update_endpoint",
        request=EndpointUpdate,
        responses=EndpointSerializer,
        description="Change the replicas, or the speculation policy: that makes a new deployment and rolls it out, at "
        "once or as `rollout` says (then the policy here changes when the rollout completes). `If-Match` is required.",
    )
    def patch(self, request: Request, endpoint_id: str) -> Response:
        found = selectors.endpoint(self.principal, endpoint_id, "endpoint:write")
        if_match = self.if_match(request)
        changes = read_body(EndpointUpdate, request)
        plan = plan_from(changes.pop("rollout", None))
        audit = {"actor": self.principal.actor, "request_id": self.request_id}
        return _shown(self, services.update_endpoint(found, changes, plan, if_match=if_match, **audit))

    @extend_schema(
        operation_id="delete_endpoint",
        responses={202: EndpointSerializer},
        description="Nodes stop serving it, and its name is free. It can be brought back until `undelete_until`.",
    )
    def delete(self, request: Request, endpoint_id: str) -> Response:
        return _set_desired(self, request, endpoint_id, "deleted")


def _set_desired(view: ApiView, request: Request, endpoint_id: str, desired: str) -> Response:
    found = selectors.endpoint(view.principal, endpoint_id, "endpoint:write")
    if desired == "deleted":
        view.principal.require_recent_authentication()
    changed = services.set_desired_state(
        found,
        desired,
        actor=view.principal.actor,
        if_match=view.if_match(request, required=False),
        request_id=view.request_id,
    )
    return _shown(view, changed, 202)


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


class Undelete(ApiView):
    @extend_schema(
        operation_id="undelete_endpoint",
        request=EndpointUndelete,
        responses={202: EndpointSerializer},
        description="Bring a deleted endpoint back, running or stopped as it was, until `undelete_until`. Where its "
        "name was given to another endpoint, it needs a new one.",
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        found = selectors.endpoint_or_deleted(self.principal, endpoint_id, "endpoint:write")
        body = read_body(EndpointUndelete, request)
        made = services.undelete_endpoint(found, actor=self.principal.actor, request_id=self.request_id, **body)
        shown = selectors.endpoint_or_deleted(self.principal, made.id, "endpoint:write")
        return Response(EndpointSerializer(shown).data, status=202, headers={"ETag": shown.etag})


class Events(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_endpoint_events", responses=page_schema(EndpointEventSerializer))
    def get(self, request: Request, endpoint_id: str) -> Response:
        rows, cursor = page(selectors.events_of(selectors.endpoint(self.principal, endpoint_id)), **self.query)
        return Response(page_body(EndpointEventSerializer(rows, many=True).data, cursor))


urlpatterns = [
    path("endpoints", Endpoints.as_view()),
    path("endpoints/<str:endpoint_id>", Endpoint.as_view()),
    path("endpoints/<str:endpoint_id>/start", Start.as_view()),
    path("endpoints/<str:endpoint_id>/stop", Stop.as_view()),
    path("endpoints/<str:endpoint_id>/undelete", Undelete.as_view()),
    path("endpoints/<str:endpoint_id>/events", Events.as_view()),
]
