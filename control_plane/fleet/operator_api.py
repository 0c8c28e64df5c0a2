"""/api/v1/node-tokens, /operator-events, /capacity: for operators of the service."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import read_body
from control_plane.common.views import ApiView
from control_plane.fleet import registration, selectors
from control_plane.fleet.serializers import (
    FleetCapacitySerializer,
    OperatorEventSerializer,
    TokenCreate,
    TokenSerializer,
    TokenWithSecret,
)


class NodeTokens(ApiView):
    queries = {"get": PageQuery}
    secret_fields = ("token",)

    @extend_schema(operation_id="list_node_tokens", responses=page_schema(TokenSerializer))
    def get(self, request: Request) -> Response:
        rows, cursor = page(selectors.tokens(self.principal), **self.query)
        return Response(page_body(TokenSerializer(rows, many=True).data, cursor))

    @extend_schema(
        operation_id="create_node_token",
        request=TokenCreate,
        responses={201: TokenWithSecret},
        description="A token with which one node registers, once. It is shown here and never again.",
    )
    def post(self, request: Request) -> Response:
        self.principal.require_operator()
        self.principal.require_recent_authentication()
        body = read_body(TokenCreate, request)
        made, text = registration.create_token(actor=self.principal.actor, request_id=self.request_id, **body)
        return Response({**TokenSerializer(made).data, "token": text}, status=201)


class NodeToken(ApiView):
    @extend_schema(operation_id="read_node_token", responses=TokenSerializer)
    def get(self, request: Request, token_id: str) -> Response:
        return Response(TokenSerializer(selectors.token(self.principal, token_id)).data)

    @extend_schema(operation_id="revoke_node_token", responses={200: TokenSerializer})
    def delete(self, request: Request, token_id: str) -> Response:
        found = selectors.token(self.principal, token_id)
        revoked = registration.revoke_token(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(TokenSerializer(revoked).data)


class OperatorEvents(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_operator_events", responses=page_schema(OperatorEventSerializer))
    def get(self, request: Request) -> Response:
        rows, cursor = page(selectors.operator_events(self.principal), **self.query)
        return Response(page_body(OperatorEventSerializer(rows, many=True).data, cursor))


class Capacity(ApiView):
    @extend_schema(operation_id="read_capacity", responses=FleetCapacitySerializer)
    def get(self, request: Request) -> Response:
        found = selectors.capacity(self.principal)
        return Response(FleetCapacitySerializer({"models": found}).data)


urlpatterns = [
    path("node-tokens", NodeTokens.as_view()),
    path("node-tokens/<str:token_id>", NodeToken.as_view()),
    path("operator-events", OperatorEvents.as_view()),
    path("capacity", Capacity.as_view()),
]
