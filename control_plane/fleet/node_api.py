"""/internal/v1/nodes: what nodes call. The values are those of `dataplane/contracts.py`; every call may be repeated."""

from __future__ import annotations

import re
from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from control_plane.billing.ingestion import ingest
from control_plane.common.errors import Invalid
from control_plane.common.parsing import read_body
from control_plane.fleet import registration, services, snapshot
from control_plane.fleet.authentication import NodeAuthentication, NodePrincipal
from control_plane.fleet.models import Node
from dataplane import contracts

_URL_SAFE = re.compile(r"[0-9A-Za-z_-]+")


class NodeView(APIView):
    authentication_classes = [NodeAuthentication]

    @property
    def caller(self) -> NodePrincipal:
        principal = self.request.user
        assert isinstance(principal, NodePrincipal)
        return principal

    @property
    def node(self) -> Node:
        return self.caller.node


class CredentialField(serializers.CharField):
    """A secret that the node drew: at least 32 bytes, URL-safe."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=43, max_length=200, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not _URL_SAFE.fullmatch(text):
            raise serializers.ValidationError("Only letters, digits, - and _.")
        return text


class Rotation(serializers.Serializer[Any]):
    credential = CredentialField()


class Registration(serializers.Serializer[Any]):
    registration_token = serializers.CharField(max_length=500)
    boot_id = serializers.CharField(max_length=64)
    name = serializers.CharField(max_length=120)
    engine = serializers.CharField(max_length=32)
    model = serializers.CharField(max_length=120)
    model_sha256 = serializers.CharField(max_length=64, allow_blank=True, default="")
    address = serializers.CharField(max_length=255, allow_blank=True, default="")
    credential = CredentialField(allow_blank=True, default="")
    max_projects = serializers.IntegerField(min_value=1, max_value=100_000, required=False)
    adaptive_bytes = serializers.IntegerField(min_value=0, max_value=1 << 50, required=False)


class Register(APIView):
    """Use up a registration token; from then on the node proves itself with its credential. Safe to repeat."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def post(self, request: Request) -> Response:
        body = read_body(Registration, request)
        node, credential = registration.register(body.pop("registration_token"), **body)
        return Response({"node_id": node.id, "credential": credential}, status=201)


class Credential(NodeView):
    """The node changes its credential to one that it drew and has kept."""

    def post(self, request: Request, node_id: str) -> Response:
        registration.rotate_credential(self.node, read_body(Rotation, request)["credential"])
        return Response({"overlap_seconds": int(registration.OVERLAP.total_seconds())})


class Snapshot(NodeView):
    """The desired state; 304 while the generation is the one that the node names. Nothing new costs one query."""

    def get(self, request: Request, node_id: str) -> Response:
        if request.headers.get("If-None-Match", "").strip() == f'"{self.caller.generation}"':
            return Response(status=304, headers={"ETag": f'"{self.caller.generation}"'})
        built = snapshot.build(self.node)
        return Response(
            contracts.to_dict(built), headers={"ETag": f'"{built.generation}"', "Cache-Control": "no-store"}
        )


class Usage(NodeView):
    def post(self, request: Request, node_id: str) -> Response:
        body = request.data
        if not isinstance(body, dict) or not isinstance(body.get("events"), list):
            raise Invalid("A batch is {events: [SequencedUsage]}.", pointer="/events")
        return Response({"acknowledged": ingest(self.node.id, body["events"])})


class Status(NodeView):
    def post(self, request: Request, node_id: str) -> Response:
        try:
            status = contracts.from_dict(contracts.NodeStatus, request.data)
        except contracts.ContractError as error:
            raise Invalid(str(error), pointer="/" + error.path.replace(".", "/")) from error
        services.report(self.node, status)
        return Response(status=204)


urlpatterns = [
    path("register", Register.as_view()),
    path("<str:node_id>/credential", Credential.as_view()),
    path("<str:node_id>/snapshot", Snapshot.as_view()),
    path("<str:node_id>/usage", Usage.as_view()),
    path("<str:node_id>/status", Status.as_view()),
]
