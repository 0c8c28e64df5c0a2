"""/api/v1: organizations, projects, members, API keys, service keys."""

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
from control_plane.tenants.models import Membership, User
from control_plane.tenants.serializers import (
    ApiKeyCreate,
    ApiKeyRotate,
    ApiKeySerializer,
    MemberCreate,
    MemberSerializer,
    MemberUpdate,
    NameBody,
    NewApiKeySerializer,
    NewServiceKeySerializer,
    OrganizationQuery,
    OrganizationSerializer,
    OrganizationUpdate,
    ProjectCreate,
    ProjectQuery,
    ProjectSerializer,
    ProjectUpdate,
    ServiceKeyCreate,
    ServiceKeySerializer,
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


class Members(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_members", responses=page_schema(MemberSerializer))
    def get(self, request: Request, organization_id: str) -> Response:
        rows, cursor = page(selectors.memberships(self.principal, organization_id), **self.query)
        return Response(page_body(MemberSerializer(rows, many=True).data, cursor))

    @extend_schema(operation_id="add_member", request=MemberCreate, responses={201: MemberSerializer})
    def post(self, request: Request, organization_id: str) -> Response:
        found = selectors.organization(self.principal, organization_id, "member:write")
        body = read_body(MemberCreate, request)
        made = services.add_member(found, principal=self.principal, request_id=self.request_id, **body)
        return Response(MemberSerializer(made).data, status=201)


class Member(ApiView):
    @extend_schema(operation_id="change_member_role", request=MemberUpdate, responses=MemberSerializer)
    def patch(self, request: Request, organization_id: str, member_id: str) -> Response:
        found = self._find(organization_id, member_id)
        body = read_body(MemberUpdate, request)
        changed = services.change_role(found, body["role"], principal=self.principal, request_id=self.request_id)
        return Response(MemberSerializer(changed).data)

    @extend_schema(operation_id="remove_member", responses={204: None})
    def delete(self, request: Request, organization_id: str, member_id: str) -> Response:
        services.remove_member(
            self._find(organization_id, member_id), principal=self.principal, request_id=self.request_id
        )
        return Response(status=204)

    def _find(self, organization_id: str, member_id: str) -> Membership:
        selectors.organization(self.principal, organization_id, "member:write")
        return selectors.one_or_404(selectors.memberships(self.principal, organization_id), member_id)


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

    @extend_schema(operation_id="rotate_api_key", request=ApiKeyRotate, responses={201: NewApiKeySerializer})
    def post(self, request: Request, key_id: str) -> Response:
        found = selectors.api_key(self.principal, key_id, "api_key:write")
        body = read_body(ApiKeyRotate, request)
        key, text = services.rotate_api_key(found, actor=self.principal.actor, request_id=self.request_id, **body)
        return Response({**ApiKeySerializer(key).data, "key": text}, status=201)


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
        key, text = services.create_service_key(
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
        revoked = services.revoke_service_key(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(ServiceKeySerializer(revoked).data)


urlpatterns = [
    path("organizations", Organizations.as_view()),
    path("organizations/<str:organization_id>", Organization.as_view()),
    path("organizations/<str:organization_id>/members", Members.as_view()),
    path("organizations/<str:organization_id>/members/<str:member_id>", Member.as_view()),
    path("projects", Projects.as_view()),
    path("projects/<str:project_id>", Project.as_view()),
    path("api-keys", ApiKeys.as_view()),
    path("api-keys/<str:key_id>", ApiKey.as_view()),
    path("api-keys/<str:key_id>/rotate", ApiKeyRotation.as_view()),
    path("service-keys", ServiceKeys.as_view()),
    path("service-keys/<str:key_id>", ServiceKey.as_view()),
]
