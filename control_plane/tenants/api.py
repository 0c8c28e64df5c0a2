"""/api/v1: organizations, projects, API keys."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import Forbidden
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import read_body
from control_plane.common.views import ApiView
from control_plane.tenants import selectors, services
from control_plane.tenants.models import User
from control_plane.tenants.serializers import (
    ApiKeyCreate,
    ApiKeySerializer,
    KeyRotate,
    NameBody,
    NewApiKeySerializer,
    OrganizationQuery,
    OrganizationSerializer,
    OrganizationUpdate,
    ProjectCreate,
    ProjectQuery,
    ProjectSerializer,
    ProjectUpdate,
)


class Organizations(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_organizations", responses=page_schema(OrganizationSerializer))
    def get(self, request: Request) -> Response:
        rows, cursor = page(selectors.organizations(self.principal), **self.query)
        return Response(page_body(OrganizationSerializer(rows, many=True).data, cursor))

    @extend_schema(
        operation_id="create_organization",
        request=NameBody,
        responses={201: OrganizationSerializer},
        description="Found an organization; the signed-in person becomes its owner. Not for service keys.",
    )
    def post(self, request: Request) -> Response:
        body = read_body(NameBody, request)
        owner = (
            User.objects.filter(pk=self.principal.actor).first() if self.principal.actor.startswith("usr_") else None
        )
        if owner is None:
            raise Forbidden("Only a signed-in person can found an organization.")
        made = services.create_organization(body["name"], owner=owner, request_id=self.request_id)
        self.principal.will_need("organization:read", made.id)
        return Response(OrganizationSerializer(made).data, status=201)


class Organization(ApiView):
    @extend_schema(operation_id="read_organization", responses=OrganizationSerializer)
    def get(self, request: Request, organization_id: str) -> Response:
        return Response(OrganizationSerializer(selectors.organization(self.principal, organization_id)).data)

    @extend_schema(operation_id="update_organization", request=OrganizationUpdate, responses=OrganizationSerializer)
    def patch(self, request: Request, organization_id: str) -> Response:
        found = selectors.organization(self.principal, organization_id, "organization:write")
        changes = read_body(OrganizationUpdate, request)
        changed = services.update_organization(found, changes, principal=self.principal, request_id=self.request_id)
        return Response(OrganizationSerializer(changed).data)


class Projects(ApiView):
    queries = {"get": OrganizationQuery}

    @extend_schema(operation_id="list_projects", responses=page_schema(ProjectSerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.projects(self.principal)
        if organization_id := self.query.pop("organization_id", None):
            rows = rows.filter(organization_id=organization_id)
        found, cursor = page(rows, **self.query)
        return Response(page_body(ProjectSerializer(found, many=True).data, cursor))

    @extend_schema(operation_id="create_project", request=ProjectCreate, responses={201: ProjectSerializer})
    def post(self, request: Request) -> Response:
        body = read_body(ProjectCreate, request)
        organization = selectors.organization(self.principal, body.pop("organization_id"), "project:write")
        made = services.create_project(organization, actor=self.principal.actor, request_id=self.request_id, **body)
        return Response(ProjectSerializer(made).data, status=201)


class Project(ApiView):
    @extend_schema(operation_id="read_project", responses=ProjectSerializer)
    def get(self, request: Request, project_id: str) -> Response:
        return Response(ProjectSerializer(selectors.project(self.principal, project_id)).data)

    @extend_schema(operation_id="update_project", request=ProjectUpdate, responses=ProjectSerializer)
    def patch(self, request: Request, project_id: str) -> Response:
        found = selectors.project(self.principal, project_id, "project:write")
        changes = read_body(ProjectUpdate, request)
        changed = services.update_project(found, changes, actor=self.principal.actor, request_id=self.request_id)
        return Response(ProjectSerializer(changed).data)


class ApiKeys(ApiView):
    queries = {"get": ProjectQuery}
    secret_fields = ("key",)

    @extend_schema(operation_id="list_api_keys", responses=page_schema(ApiKeySerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.api_keys(self.principal)
        if project_id := self.query.pop("project_id", None):
            rows = rows.filter(project_id=project_id)
        found, cursor = page(rows, **self.query)
        return Response(page_body(ApiKeySerializer(found, many=True).data, cursor))

    @extend_schema(operation_id="create_api_key", request=ApiKeyCreate, responses={201: NewApiKeySerializer})
    def post(self, request: Request) -> Response:
        body = read_body(ApiKeyCreate, request)
        project = selectors.project(self.principal, body.pop("project_id"), "api_key:write")
        key, text = services.create_api_key(project, actor=self.principal.actor, request_id=self.request_id, **body)
        return Response({**ApiKeySerializer(key).data, "key": text}, status=201)


class ApiKey(ApiView):
    @extend_schema(operation_id="read_api_key", responses=ApiKeySerializer)
    def get(self, request: Request, key_id: str) -> Response:
        return Response(ApiKeySerializer(selectors.api_key(self.principal, key_id)).data)

    @extend_schema(operation_id="revoke_api_key", responses={200: ApiKeySerializer})
    def delete(self, request: Request, key_id: str) -> Response:
        found = selectors.api_key(self.principal, key_id, "api_key:write")
        revoked = services.revoke_api_key(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(ApiKeySerializer(revoked).data)


class ApiKeyRotation(ApiView):
    secret_fields = ("key",)

    @extend_schema(operation_id="rotate_api_key", request=KeyRotate, responses={201: NewApiKeySerializer})
    def post(self, request: Request, key_id: str) -> Response:
        found = selectors.api_key(self.principal, key_id, "api_key:write")
        body = read_body(KeyRotate, request)
        key, text = services.rotate_api_key(found, actor=self.principal.actor, request_id=self.request_id, **body)
        return Response({**ApiKeySerializer(key).data, "key": text}, status=201)


urlpatterns = [
    path("organizations", Organizations.as_view()),
    path("organizations/<str:organization_id>", Organization.as_view()),
    path("projects", Projects.as_view()),
    path("projects/<str:project_id>", Project.as_view()),
    path("api-keys", ApiKeys.as_view()),
    path("api-keys/<str:key_id>", ApiKey.as_view()),
    path("api-keys/<str:key_id>/rotate", ApiKeyRotation.as_view()),
]
