"""/api/v1: programs' accounts, and the keys with which they call this API."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import NotFound
from control_plane.common.pagination import page, page_body, page_schema
from control_plane.common.parsing import read_body
from control_plane.common.views import ApiView
from control_plane.tenants import selectors, service_accounts
from control_plane.tenants.serializers import (
    KeyRotate,
    NewServiceKeySerializer,
    OrganizationQuery,
    ServiceAccountCreate,
    ServiceAccountSerializer,
    ServiceAccountUpdate,
    ServiceKeyCreate,
    ServiceKeySerializer,
)


class ServiceAccounts(ApiView):
    queries = {"get": OrganizationQuery}

    @extend_schema(operation_id="list_service_accounts", responses=page_schema(ServiceAccountSerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.service_accounts(self.principal)
        if organization_id := self.query.pop("organization_id", None):
            rows = rows.filter(organization_id=organization_id)
        found, cursor = page(rows, **self.query)
        return Response(page_body(ServiceAccountSerializer(found, many=True).data, cursor))

    @extend_schema(
        operation_id="create_service_account", request=ServiceAccountCreate, responses={201: ServiceAccountSerializer}
    )
    def post(self, request: Request) -> Response:
        body = read_body(ServiceAccountCreate, request)
        organization = selectors.organization(self.principal, body.pop("organization_id"), "service_key:write")
        self.principal.require_recent_authentication()
        made = service_accounts.create_service_account(
            organization, principal=self.principal, request_id=self.request_id, **body
        )
        return Response(ServiceAccountSerializer(made).data, status=201)


class ServiceAccount(ApiView):
    @extend_schema(operation_id="read_service_account", responses=ServiceAccountSerializer)
    def get(self, request: Request, account_id: str) -> Response:
        return Response(ServiceAccountSerializer(selectors.service_account(self.principal, account_id)).data)

    @extend_schema(
        operation_id="update_service_account", request=ServiceAccountUpdate, responses=ServiceAccountSerializer
    )
    def patch(self, request: Request, account_id: str) -> Response:
        found = selectors.service_account(self.principal, account_id, "service_key:write")
        self.principal.require_recent_authentication()
        changes = read_body(ServiceAccountUpdate, request)
        changed = service_accounts.update_service_account(
            found, changes, principal=self.principal, request_id=self.request_id
        )
        return Response(ServiceAccountSerializer(changed).data)


class ServiceKeys(ApiView):
    queries = {"get": OrganizationQuery}
    secret_fields = ("key",)

    @extend_schema(operation_id="list_service_keys", responses=page_schema(ServiceKeySerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.service_keys(self.principal)
        if organization_id := self.query.pop("organization_id", None):
            rows = rows.filter(organization_id=organization_id)
        found, cursor = page(rows, **self.query)
        return Response(page_body(ServiceKeySerializer(found, many=True).data, cursor))

    @extend_schema(
        operation_id="create_service_key", request=ServiceKeyCreate, responses={201: NewServiceKeySerializer}
    )
    def post(self, request: Request) -> Response:
        body = read_body(ServiceKeyCreate, request)
        organization = selectors.organization(self.principal, body.pop("organization_id"), "service_key:write")
        self.principal.require_recent_authentication()
        if account_id := body.pop("service_account_id", None):
            body["account"] = selectors.service_account(self.principal, account_id, "service_key:write")
            if body["account"].organization_id != organization.id:
                raise NotFound
        key, text = service_accounts.create_service_key(
            organization, principal=self.principal, request_id=self.request_id, **body
        )
        return Response({**ServiceKeySerializer(key).data, "key": text}, status=201)


class ServiceKey(ApiView):
    @extend_schema(operation_id="read_service_key", responses=ServiceKeySerializer)
    def get(self, request: Request, key_id: str) -> Response:
        return Response(ServiceKeySerializer(selectors.service_key(self.principal, key_id)).data)

    @extend_schema(operation_id="revoke_service_key", responses={200: ServiceKeySerializer})
    def delete(self, request: Request, key_id: str) -> Response:
        found = selectors.service_key(self.principal, key_id, "service_key:write")
        revoked = service_accounts.revoke_service_key(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(ServiceKeySerializer(revoked).data)


class ServiceKeyRotation(ApiView):
    secret_fields = ("key",)

    @extend_schema(
        operation_id="rotate_service_key",
        request=KeyRotate,
        responses={201: NewServiceKeySerializer},
        description="A successor that may do the same; the old key works on for the overlap.",
    )
    def post(self, request: Request, key_id: str) -> Response:
        found = selectors.service_key(self.principal, key_id, "service_key:write")
        self.principal.require_recent_authentication()
        body = read_body(KeyRotate, request)
        key, text = service_accounts.rotate_service_key(
            found, principal=self.principal, request_id=self.request_id, **body
        )
        return Response({**ServiceKeySerializer(key).data, "key": text}, status=201)


urlpatterns = [
    path("service-accounts", ServiceAccounts.as_view()),
    path("service-accounts/<str:account_id>", ServiceAccount.as_view()),
    path("service-keys", ServiceKeys.as_view()),
    path("service-keys/<str:key_id>", ServiceKey.as_view()),
    path("service-keys/<str:key_id>/rotate", ServiceKeyRotation.as_view()),
]
