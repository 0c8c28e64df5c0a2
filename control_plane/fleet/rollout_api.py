"""/api/v1/deployments and /rollouts. Here, because a rollout joins an endpoint, a speculator version and what nodes
report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import Conflict, Invalid, NotFound
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import read_body
from control_plane.common.views import ApiView
from control_plane.endpoints import deployments, rollouts, selectors
from control_plane.endpoints.models import Endpoint as EndpointRow
from control_plane.endpoints.models import Rollout as RolloutRow
from control_plane.endpoints.serializers import (
    DeploymentQuery,
    DeploymentSerializer,
    RolloutAbort,
    RolloutCreate,
    RolloutEventSerializer,
    RolloutQuery,
    RolloutSerializer,
    plan_from,
)
from control_plane.speculators.models import SERVABLE
from control_plane.speculators.selectors import version as find_version
from control_plane.tenants.principal import Principal


class Deployments(ApiView):
    queries = {"get": DeploymentQuery}

    @extend_schema(operation_id="list_deployments", responses=page_schema(DeploymentSerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.deployments(self.principal, endpoint_id=self.query.pop("endpoint_id", None))
        found, cursor = page(rows, **self.query)
        return Response(page_body(DeploymentSerializer(found, many=True).data, cursor))


class Deployment(ApiView):
    @extend_schema(operation_id="read_deployment", responses=DeploymentSerializer)
    def get(self, request: Request, deployment_id: str) -> Response:
        return Response(DeploymentSerializer(selectors.deployment(self.principal, deployment_id)).data)


class Rollouts(ApiView):
    queries = {"get": RolloutQuery}
    conditional = {"post": False}

    @extend_schema(operation_id="list_rollouts", responses=page_schema(RolloutSerializer))
    def get(self, request: Request) -> Response:
        wanted = {name: self.query.pop(name, None) for name in ("endpoint_id", "state")}
        found, cursor = page(selectors.rollouts(self.principal, **wanted), **self.query)
        return Response(page_body(RolloutSerializer(found, many=True).data, cursor))

    @extend_schema(
        operation_id="start_rollout",
        request=RolloutCreate,
        responses={202: RolloutSerializer},
        description="Roll an endpoint out to a changed deployment, by default as a canary. While it serves worse than "
        "the old one (error rate, time to the first token, time per token, acceptance length; with confidence), the "
        "rollout aborts itself. An endpoint has one open rollout at most.",
    )
    def post(self, request: Request) -> Response:
        body = read_body(RolloutCreate, request)
        endpoint = selectors.endpoint(self.principal, body["endpoint_id"], "endpoint:write")
        changes = dict(body["deployment"])
        if changes.get("speculator_version_id"):
            _check_version(self.principal, changes["speculator_version_id"], endpoint)
        spec = deployments.changed(deployments.active_deployment(endpoint), changes)
        if spec is None:
            raise Conflict("This deployment is the active one.", code="already_active", pointer="/deployment")
        made = rollouts.start(
            endpoint,
            spec,
            plan_from(body.get("rollout"), "canary"),
            actor=self.principal.actor,
            if_match=self.if_match(request, required=False),
            request_id=self.request_id,
        )
        return _shown(made)


def _check_version(principal: Principal, version_id: str, endpoint: EndpointRow) -> None:
    """Raises Invalid unless the endpoint can run the version."""
    where = {"pointer": "/deployment/speculator_version_id"}
    try:
        version = find_version(principal, version_id)
    except NotFound:
        raise Invalid("The project has no such version.", code="unknown_version", **where) from None
    if (version.project_id, version.speculator.model_id) != (endpoint.project_id, endpoint.model_id):
        raise Invalid("The project has no such version.", code="unknown_version", **where)
    if version.state not in SERVABLE:
        raise Invalid(f"A version that is {version.state} can't serve.", code="not_servable", **where)


def _shown(rollout: RolloutRow) -> Response:
    return Response(RolloutSerializer(rollout).data, status=202)


class Rollout(ApiView):
    @extend_schema(operation_id="read_rollout", responses=RolloutSerializer)
    def get(self, request: Request, rollout_id: str) -> Response:
        return Response(RolloutSerializer(selectors.rollout(self.principal, rollout_id)).data)


def _act(view: ApiView, rollout_id: str, action: Callable[..., RolloutRow], **options: Any) -> Response:
    found = selectors.rollout(view.principal, rollout_id, "endpoint:write")
    return _shown(action(found, actor=view.principal.actor, request_id=view.request_id, **options))


class Pause(ApiView):
    @extend_schema(
        operation_id="pause_rollout",
        request=None,
        responses={202: RolloutSerializer},
        description="Keep the shares as they are. What gets worse is still aborted.",
    )
    def post(self, request: Request, rollout_id: str) -> Response:
        return _act(self, rollout_id, rollouts.pause)


class Resume(ApiView):
    @extend_schema(
        operation_id="resume_rollout",
        request=None,
        responses={202: RolloutSerializer},
        description="Go on; the present step is observed anew.",
    )
    def post(self, request: Request, rollout_id: str) -> Response:
        return _act(self, rollout_id, rollouts.resume)


class Promote(ApiView):
    @extend_schema(
        operation_id="promote_rollout",
        request=None,
        responses={202: RolloutSerializer},
        description="Shift everything as soon as nodes have the new deployment, and observe no more.",
    )
    def post(self, request: Request, rollout_id: str) -> Response:
        return _act(self, rollout_id, rollouts.hurry)


class Abort(ApiView):
    @extend_schema(
        operation_id="abort_rollout",
        request=RolloutAbort,
        responses={202: RolloutSerializer},
        description="Return all requests to the deployment before.",
    )
    def post(self, request: Request, rollout_id: str) -> Response:
        body = read_body(RolloutAbort, request)
        return _act(self, rollout_id, rollouts.abort, message=body["reason"])


class Events(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_rollout_events", responses=page_schema(RolloutEventSerializer))
    def get(self, request: Request, rollout_id: str) -> Response:
        found = selectors.rollout(self.principal, rollout_id)
        rows, cursor = page(selectors.rollout_events_of(found), **self.query)
        return Response(page_body(RolloutEventSerializer(rows, many=True).data, cursor))


class Rollback(ApiView):
    conditional = {"post": False}

    @extend_schema(
        operation_id="roll_back_endpoint",
        request=None,
        responses={202: RolloutSerializer},
        description="In one call: abort the open rollout; without one, return at once to the deployment before the "
        "active one. Repeated, it goes further back.",
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        found = selectors.endpoint(self.principal, endpoint_id, "endpoint:write")
        return _shown(
            rollouts.roll_back(
                found,
                actor=self.principal.actor,
                if_match=self.if_match(request, required=False),
                request_id=self.request_id,
            )
        )


urlpatterns = [
    path("deployments", Deployments.as_view()),
    path("deployments/<str:deployment_id>", Deployment.as_view()),
    path("rollouts", Rollouts.as_view()),
    path("rollouts/<str:rollout_id>", Rollout.as_view()),
    path("rollouts/<str:rollout_id>/pause", Pause.as_view()),
    path("rollouts/<str:rollout_id>/resume", Resume.as_view()),
    path("rollouts/<str:rollout_id>/promote", Promote.as_view()),
    path("rollouts/<str:rollout_id>/abort", Abort.as_view()),
    path("rollouts/<str:rollout_id>/events", Events.as_view()),
    path("endpoints/<str:endpoint_id>/rollback", Rollback.as_view()),
]
