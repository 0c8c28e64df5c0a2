"""Every answer and every export of one tenant, in every form that it offers: nothing in it is another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps

from control_plane.common.scoping import TenantModel
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.openapi import document, route_of
from tests.control_plane.tenant import Tenant
from tests.control_plane.test_isolation import ROUTES, ListRoute, ObjectRoute, OperatorRoute

REPOSITORY = Path(__file__).resolve().parents[2]
QUERIES = {
    "usage": "group_by=day,key,endpoint,model,project,status&start=2020-01-01T00:00:00Z",
    "statements": "month=2026-03",
}


def _reads() -> list[tuple[str, str]]:
    """Each GET of the API, once for each value of its parameter `format`."""
    found = []
    for path, methods in document()["paths"].items():
        if "get" in methods and not isinstance(ROUTES.get(route_of(path)), OperatorRoute):
            parameters = {one["name"]: one.get("schema", {}) for one in methods["get"].get("parameters", ())}
            found += [(route_of(path), form) for form in parameters.get("format", {}).get("enum", [""])]
    return sorted(found)


def _identifiers(tenant: Tenant) -> set[str]:
    """The ids of everything that is in the tenant's organization, and its people."""
    found = {tenant.user.id, tenant.user.email, tenant.organization.id}
    for model in apps.get_models():
        if issubclass(model, TenantModel) and any(field.name == "organization" for field in model._meta.fields):
            rows = model._base_manager.filter(organization=tenant.organization)
            found |= {str(key) for key in rows.values_list("pk", flat=True)}
    return {identifier for identifier in found if "_" in identifier or "@" in identifier}


def _ids(route: str, tenant: Tenant) -> dict[str, str]:
    case = ROUTES[route]
    if isinstance(case, ListRoute):
        case.prepare(tenant)
    return case.ids(tenant) if isinstance(case, ObjectRoute) else {}


def _populate(tenant: Tenant, node: FakeNode, number: int) -> None:
    """Something of every kind that a case can make, and usage."""
    for route in ROUTES:
        _ids(route, tenant)
    node.send_usage(sequenced([usage_event(tenant, number)], start=number))


@pytest.fixture
def both(alice: Tenant, bob: Tenant) -> Iterator[tuple[Tenant, Tenant]]:
    node = FakeNode()
    for number, tenant in enumerate((alice, bob), start=1):
        _populate(tenant, node, number)
    yield alice, bob


@pytest.mark.django_db
def test_no_answer_in_no_form_mentions_anything_of_another_tenant(both: tuple[Tenant, Tenant]) -> None:
    alice, bob = both
    foreign = _identifiers(bob)
    assert len(foreign) > 15 and not foreign & _identifiers(alice)
    mentioned, num_own = {}, 0
    for route, form in _reads():
        if "model_id" in route:
            continue  # the catalogue is everybody's
        path = f"/api/v1/{route}"
        for name, value in _ids(route, alice).items():
            path = path.replace(f"<str:{name}>", value)
        answer = alice.api.get(f"{path}?{QUERIES.get(route, '')}" + (f"&format={form}" if form else ""))
        content = _content(answer)
        num_own += any(identifier in content for identifier in _identifiers(alice))
        if found := sorted(identifier for identifier in foreign if identifier in content):
            mentioned[route, form] = found
    assert mentioned == {}
    assert num_own > 15  # what was read held something


@pytest.mark.django_db
def test_another_tenants_export_is_absent_in_every_form(both: tuple[Tenant, Tenant]) -> None:
    alice, bob = both
    for route, form in _reads():
        ids = _ids(route, alice)
        path = f"/api/v1/{route}?organization_id={alice.organization.id}&" if route in QUERIES else f"/api/v1/{route}?"
        for name, value in ids.items():
            path = path.replace(f"<str:{name}>", value)
        if not ids and route not in QUERIES:
            continue
        answer = bob.api.get(path + (f"format={form}" if form else ""))
        assert answer.status_code == 404, (route, form)
        assert not any(identifier in _content(answer) for identifier in _identifiers(alice))


def _content(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return bytes(content).decode()


# ----------------------------------------------------------------------------------------------------------- storage

# Whoever writes objects, and where it is shown that the keys lie under the project's own prefix.
WRITERS = {
    "control_plane/training/publishing.py": "test_isolation_tasks.py: training.execute_run",
    "control_plane/training/end_users.py": "training/test_consent.py: an object is written back under its own key",
    "dataplane/traffic/upload.py": "tests/dataplane/traffic: the key is made with the segment's project",
}
_WRITES = re.compile(r"\bstore\.(?:put|put_if_absent|upload)\(|\b(?:put_object|upload_file|upload_fileobj)\(")
_STORES = {"control_plane/common/object_store.py", "dataplane/object_store.py"}


def test_everybody_who_writes_objects_is_known() -> None:
    """A new writer: show that its keys begin with `projects/<its project>/`, and name the place here."""
    found = set()
    for folder in ("control_plane", "dataplane", "web"):
        for source in (REPOSITORY / folder).rglob("*.py"):
            if _WRITES.search(source.read_text()):
                found.add(str(source.relative_to(REPOSITORY)))
    assert found - _STORES == set(WRITERS)
