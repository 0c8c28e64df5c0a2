"""Two tenants to test with: alice owns one organization, bob another; charlie belongs nowhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from control_plane.endpoints.models import CatalogueModel, Endpoint
from control_plane.endpoints.services import create_endpoint
from control_plane.tenants.models import ApiKey, Organization, Project, ServiceKey, User
from control_plane.tenants.principal import Principal, principal_of_user
from control_plane.tenants.service_accounts import create_service_key
from control_plane.tenants.services import create_api_key, create_organization, create_project

MODEL = "tiny-llama"


class Api:
    """A client of the management API with a service key (or none, or any Authorization)."""

    def __init__(self, key: str | None = None, *, authorization: str | None = None) -> None:
        header = authorization or (f"Bearer {key}" if key else None)
        self.client = Client(headers={"Authorization": header} if header else None)

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=_dashed(headers))

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        content = body if isinstance(body, (bytes, str)) else json.dumps({} if body is None else body)
        return self.client.generic(
            method.upper(), path, content, content_type="application/json", headers=_dashed(headers)
        )

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.send("DELETE", path, **headers)


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Tenant:
    """Everything that one organization owns, and a client with its owner's rights."""

    user: User
    principal: Principal
    organization: Organization
    project: Project
    endpoint: Endpoint
    api_key: ApiKey
    api_key_text: str
    service_key: ServiceKey
    service_key_text: str
    api: Api


def catalogue_model() -> CatalogueModel:
    return CatalogueModel.objects.get_or_create(
        id=MODEL, defaults={"name": "Tiny", "folder": MODEL, "context_length": 256}
    )[0]


def make_tenant(name: str) -> Tenant:
    user = User.objects.create_user(f"{name}@example.com")
    organization = create_organization(name, owner=user)
    project = create_project(organization, name="main", actor=user.id)
    endpoint = create_endpoint(project, name="assistant", model=catalogue_model(), actor=user.id)
    api_key, api_key_text = create_api_key(project, name="first", actor=user.id)
    principal = principal_of_user(user)
    service_key, service_key_text = create_service_key(organization, name="first", role="owner", principal=principal)
    return Tenant(
        user=user,
        principal=principal,
        organization=organization,
        project=project,
        endpoint=endpoint,
        api_key=api_key,
        api_key_text=api_key_text,
        service_key=service_key,
        service_key_text=service_key_text,
        api=Api(service_key_text),
    )


def api_with_role(tenant: Tenant, role: str, scopes: list[str] | None = None) -> Api:
    _, text = create_service_key(
        tenant.organization, name=role, role=role, scopes=scopes or (), principal=tenant.principal
    )
    return Api(text)
