"""`?validate_only=true` on every write of the URLconf: the answer is the one to expect, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from control_plane.tenants.models import ApiKey, IdempotencyRecord, Project
from tests.control_plane.tenant import Api, Tenant, api_with_role
from tests.control_plane.test_isolation import ROUTES, ListRoute, ObjectRoute, _path

WRITES = [
    *((route, method) for route, case in ROUTES.items() if isinstance(case, ObjectRoute) for method in case.bodies),
    *((route, "POST") for route, case in ROUTES.items() if isinstance(case, ListRoute) and case.create is not None),
]


def database() -> dict[str, tuple[int, str | None]]:
    """Of every table: how many rows, and a hash over all that is in them."""
    found = {}
    with connection.cursor() as cursor:
        for table in sorted({model._meta.db_table for model in apps.get_models() if model._meta.managed}):
            cursor.execute(
                f'SELECT count(*), md5(string_agg(row::text, chr(10) ORDER BY row::text)) FROM "{table}" row'
            )
            found[table] = cursor.fetchone()
    return found


def _request(route: str, method: str, tenant: Tenant) -> tuple[str, Any, dict[str, str]]:
    case = ROUTES[route]
    if isinstance(case, ObjectRoute):
        return _path(route, case.ids(tenant)), case.bodies[method], case.headers
    assert isinstance(case, ListRoute)
    assert case.create is not None
    return f"/api/v1/{route}", case.create(tenant), {}


@pytest.mark.parametrize(("route", "method"), [(route, method) for route, method in WRITES if method != "GET"])
def test_a_validated_write_changes_nothing(
    alice: Tenant, route: str, method: str, django_capture_on_commit_callbacks: Any
) -> None:
    path, body, headers = _request(route, method, alice)
    before = database()
    with django_capture_on_commit_callbacks() as waiting:
        answer = alice.api.send(method, f"{path}?validate_only=true", body, Idempotency_Key="k", **headers)
    assert database() == before
    assert waiting == []
    if answer.status_code >= 300:  # what the real request would be told
        assert answer.json()["code"] == alice.api.send(method, path, body, **headers).json()["code"]
        return
    assert answer.status_code in (200, 204)
    assert answer.headers["Validate-Only"] == "true"


def test_permissions_and_states_are_checked(alice: Tenant) -> None:
    body = {"organization_id": alice.organization.id, "name": "second"}
    assert api_with_role(alice, "viewer").post("/api/v1/projects?validate_only=true", body).status_code == 403
    taken = alice.api.post("/api/v1/projects?validate_only=true", body | {"name": "main"})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "/name")
    assert Api().post("/api/v1/projects?validate_only=true", body).status_code == 401


def test_no_secret_is_made(alice: Tenant) -> None:
    answer = alice.api.post("/api/v1/api-keys?validate_only=true", {"project_id": alice.project.id, "name": "x"})
    assert answer.json()["key"] is None and answer.json()["name"] == "x"
    assert not ApiKey.objects.filter(project=alice.project, name="x").exists()


def test_the_idempotency_key_stays_free(alice: Tenant) -> None:
    body = {"organization_id": alice.organization.id, "name": "second"}
    alice.api.post("/api/v1/projects?validate_only=true", body, Idempotency_Key="abc")
    assert not IdempotencyRecord.objects.exists()
    assert alice.api.post("/api/v1/projects", body, Idempotency_Key="abc").status_code == 201
    assert Project.objects.filter(organization=alice.organization, name="second").count() == 1


def test_a_read_has_nothing_to_validate(alice: Tenant) -> None:
    answer = alice.api.get("/api/v1/projects?validate_only=true")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/validate_only")


def test_a_value_that_is_neither_true_nor_false_is_refused(alice: Tenant) -> None:
    body = {"organization_id": alice.organization.id, "name": "second"}
    answer = alice.api.post("/api/v1/projects?validate_only=perhaps", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/validate_only")
    assert not Project.objects.filter(organization=alice.organization, name="second").exists()
