"""What somebody would try who has an account of their own and wants at another tenant's: each attempt fails, and leaves
everything of the other as it was."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.common.idempotency import REPLAYED
from control_plane.common.states import transition
from control_plane.tenants.models import ApiKey, AuditEvent, ServiceKey
from control_plane.webhooks.models import Webhook, WebhookDelivery
from control_plane.webhooks.services import create_webhook, send_test
from tests.control_plane.openapi import document, route_of
from tests.control_plane.tenancy import footprint
from tests.control_plane.tenant import Tenant
from tests.control_plane.test_isolation import ROUTES, ListRoute, ObjectRoute, _path

pytestmark = pytest.mark.django_db


def test_an_idempotency_key_of_another_tenant_replays_nothing(alice: Tenant, bob: Tenant) -> None:
    made = alice.api.post("/api/v1/api-keys", {"project_id": alice.project.id, "name": "x"}, Idempotency_Key="shared")
    same_body = bob.api.post(
        "/api/v1/api-keys", {"project_id": alice.project.id, "name": "x"}, Idempotency_Key="shared"
    )
    assert same_body.status_code == 404 and REPLAYED not in same_body.headers
    own = bob.api.post("/api/v1/api-keys", {"project_id": bob.project.id, "name": "x"}, Idempotency_Key="shared")
    assert own.status_code == 201 and own.json()["id"] != made.json()["id"]


def _cursor(tenant: Tenant, route: str) -> str:
    case = ROUTES[route]
    assert isinstance(case, ListRoute)
    case.prepare(tenant)
    return str(tenant.api.get(f"/api/v1/{route}?limit=1").json()["data"][0]["id"])


@pytest.mark.parametrize("route", [route for route, case in ROUTES.items() if isinstance(case, ListRoute)])
def test_the_cursor_of_another_tenant_shows_only_ones_own(alice: Tenant, bob: Tenant, route: str) -> None:
    own = ROUTES[route]
    assert isinstance(own, ListRoute)
    own.prepare(bob)
    mine = {row["id"] for row in bob.api.get(f"/api/v1/{route}?limit=100").json()["data"]}
    answer = bob.api.get(f"/api/v1/{route}?limit=100&after={_cursor(alice, route)}")
    assert answer.status_code == 200
    assert {row["id"] for row in answer.json()["data"]} <= mine


@pytest.mark.parametrize(
    "route", [route for route, case in ROUTES.items() if isinstance(case, ListRoute) and case.create is not None]
)
def test_a_body_that_mixes_two_tenants_objects_makes_nothing(alice: Tenant, bob: Tenant, route: str) -> None:
    """One's own organization with somebody else's project, account, speculator …: each field on its own."""
    case = ROUTES[route]
    assert isinstance(case, ListRoute) and case.create is not None
    mine, theirs = case.create(bob), case.create(alice)
    carriers = [name for name, value in mine.items() if name.endswith("_id") and theirs[name] != value]
    assert carriers, "nothing in this body belongs to a tenant"
    before = footprint(alice.organization.id)
    for name in carriers:
        assert bob.api.post(f"/api/v1/{route}", mine | {name: theirs[name]}).status_code == 404, name
    assert footprint(alice.organization.id).differences(before) == {}


def test_names_and_addresses_of_another_tenant_are_free(alice: Tenant, bob: Tenant) -> None:
    """A name in use elsewhere must not be told by a conflict."""
    project = {"organization_id": bob.organization.id, "name": "secret plans"}
    alice.api.post("/api/v1/projects", project | {"organization_id": alice.organization.id})
    assert bob.api.post("/api/v1/projects", project).status_code == 201
    endpoint = {"project_id": bob.project.id, "name": "skunk-works", "model": alice.endpoint.model_id}
    alice.api.post("/api/v1/endpoints", endpoint | {"project_id": alice.project.id})
    assert bob.api.post("/api/v1/endpoints", endpoint).status_code in (201, 202)
    invitation = {"email": "dora@example.com", "role": "viewer"}
    for tenant in (alice, bob):
        path = f"/api/v1/organizations/{tenant.organization.id}/invitations"
        assert tenant.api.post(path, invitation).status_code == 201


def test_an_etag_of_another_tenant_changes_nothing(alice: Tenant, bob: Tenant) -> None:
    etag = alice.api.get(f"/api/v1/endpoints/{alice.endpoint.id}").headers["ETag"]
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    for header in (etag, "*", '"0"'):
        assert bob.api.patch(path, {"max_lookahead": 1}, If_Match=header).status_code == 404
    assert bob.api.get(path, If_None_Match=etag).status_code == 404


def test_a_delivery_of_another_tenant_is_not_replayed_to_ones_own_address(alice: Tenant, bob: Tenant) -> None:
    hooks = {
        tenant.organization.id: create_webhook(
            tenant.organization, url=f"https://{tenant.user.id}.example.com/", event_types=["*"], actor="x"
        )[0]
        for tenant in (alice, bob)
    }
    theirs = transition(send_test(hooks[alice.organization.id], actor="x"), "delivered", next_attempt_at=None)
    before = footprint(alice.organization.id)
    assert bob.api.post(f"/api/v1/webhook-deliveries/{theirs.id}/replay").status_code == 404
    own = hooks[bob.organization.id]
    assert bob.api.get(f"/api/v1/webhook-deliveries?webhook_id={hooks[alice.organization.id].id}").json()["data"] == []
    assert footprint(alice.organization.id).differences(before) == {}
    assert not WebhookDelivery.objects.filter(webhook=own, organization=bob.organization).exists()
    assert Webhook.objects.filter(organization=bob.organization).get().id == own.id


@pytest.mark.parametrize(
    "query",
    [
        "organization_id={theirs}",
        "organization_id={mine}&organization_id={theirs}",
        "organization_id={mine},{theirs}",
        "organization_id=*",
        "organization_id=",
    ],
)
def test_an_audit_export_is_of_one_organization_that_one_belongs_to(alice: Tenant, bob: Tenant, query: str) -> None:
    filled = query.format(mine=bob.organization.id, theirs=alice.organization.id)
    for route in ("audit-events/export", "audit-events/verification", "usage", "statements", "audit-events"):
        answer = bob.api.get(f"/api/v1/{route}?{filled}")
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        foreign = [*AuditEvent.objects.filter(organization=alice.organization).values_list("id", flat=True)]
        assert not any(event.encode() in content for event in foreign), route
        assert answer.status_code in (400, 404) or answer.json()["data"] == [], route


def _spoilt_paths(route: str, ids: dict[str, str], own: dict[str, str]) -> list[str]:
    """Paths that a sloppy router or a cache might take for one's own."""
    path = _path(route, ids)
    last = [*ids.values()][-1]
    return [
        path.replace(last, last.upper()),
        path.replace(last, f"{[*own.values()][-1]}%2F..%2F{last}"),
        path.replace("/api/v1/", f"/api/v1/../v1/projects/{[*own.values()][-1]}/../../"),
        path + "/",
        path + "%00",
    ]


@pytest.mark.parametrize(
    "route",
    [route for route, case in ROUTES.items() if isinstance(case, ObjectRoute) and "GET" in case.bodies],
)
def test_odd_spellings_of_a_foreign_path_find_nothing(alice: Tenant, bob: Tenant, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, ObjectRoute)
    for path in _spoilt_paths(route, case.ids(alice), case.ids(bob)):
        assert bob.api.get(path).status_code in (400, 404), path


def test_a_key_of_one_tenant_in_the_session_of_another_is_one_of_the_two(alice: Tenant, bob: Tenant) -> None:
    """The Authorization header wins, and the cookie adds nothing to it."""
    bob.api.client.force_login(alice.user)
    seen: Any = bob.api.get("/api/v1/projects").json()["data"]
    assert {row["organization_id"] for row in seen} == {bob.organization.id}


def test_digests_and_secrets_are_in_no_answer(alice: Tenant) -> None:
    _, key = alice.api_key, ApiKey.objects.filter(project=alice.project).get(pk=alice.api_key.id)
    service = ServiceKey.objects.filter(organization=alice.organization).get(pk=alice.service_key.id)
    for route in ("api-keys", "service-keys", "audit-events", f"projects/{alice.project.id}"):
        content = alice.api.get(f"/api/v1/{route}").content.decode()
        for secret in (key.digest, service.digest, alice.api_key_text, alice.service_key_text):
            assert secret not in content
        assert alice.project.cache_salt not in content


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
def test_a_method_that_a_path_has_not_is_a_405_whatever_its_parameters(alice: Tenant, method: str) -> None:
    wrong = {}
    for path, methods in document()["paths"].items():
        if method.lower() in methods or route_of(path) in ("schema", "docs"):
            continue
        answer = alice.api.client.generic(method, f"{path}?surplus=1")
        if answer.status_code != 405 or method in answer.headers["Allow"].split(", "):
            wrong[path] = (answer.status_code, answer.headers.get("Allow"))
    assert wrong == {}
