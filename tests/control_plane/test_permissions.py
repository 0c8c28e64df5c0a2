"""Every role against every operation: who lacks the permission is told which one, and nobody else is stopped by it.

A new operation fails here until NEEDS says what it needs; a permission that guards nothing fails too.
"""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.tenants.models import ServiceKey
from control_plane.tenants.permissions import PERMISSIONS, ROLES, allows
from tests.control_plane.tenant import Api, Tenant, api_with_role
from tests.control_plane.test_isolation import ROUTES, ListRoute, ObjectRoute, _path

pytestmark = pytest.mark.django_db

# By route: the permission of each method that a case of the isolation tests has.
NEEDS: dict[str, dict[str, str]] = {
    "organizations/<str:organization_id>": {"GET": "organization:read", "PATCH": "organization:write"},
    "organizations/<str:organization_id>/members": {"GET": "member:read"},
    "organizations/<str:organization_id>/members/<str:member_id>": {"PATCH": "member:write", "DELETE": "member:write"},
    "organizations/<str:organization_id>/invitations": {"GET": "member:read", "POST": "member:write"},
    "organizations/<str:organization_id>/invitations/<str:invitation_id>": {
        "GET": "member:read",
        "DELETE": "member:write",
    },
    "organizations/<str:organization_id>/invitations/<str:invitation_id>/resend": {"POST": "member:write"},
    "projects": {"GET": "project:read", "POST": "project:write"},
    "projects/<str:project_id>": {"GET": "project:read", "PATCH": "project:write"},
    "api-keys": {"GET": "api_key:read", "POST": "api_key:write"},
    "api-keys/<str:key_id>": {"GET": "api_key:read", "DELETE": "api_key:write"},
    "api-keys/<str:key_id>/rotate": {"POST": "api_key:write"},
    "service-accounts": {"GET": "service_key:read", "POST": "service_key:write"},
    "service-accounts/<str:account_id>": {"GET": "service_key:read", "PATCH": "service_key:write"},
    "service-keys": {"GET": "service_key:read", "POST": "service_key:write"},
    "service-keys/<str:key_id>": {"GET": "service_key:read", "DELETE": "service_key:write"},
    "service-keys/<str:key_id>/rotate": {"POST": "service_key:write"},
    "audit-events": {"GET": "audit:read"},
    "endpoints": {"GET": "endpoint:read", "POST": "endpoint:write"},
    "endpoints/<str:endpoint_id>": {"GET": "endpoint:read", "PATCH": "endpoint:write", "DELETE": "endpoint:write"},
    "endpoints/<str:endpoint_id>/start": {"POST": "endpoint:write"},
    "endpoints/<str:endpoint_id>/stop": {"POST": "endpoint:write"},
    "endpoints/<str:endpoint_id>/undelete": {"POST": "endpoint:write"},
    "endpoints/<str:endpoint_id>/rollback": {"POST": "endpoint:write"},
    "endpoints/<str:endpoint_id>/events": {"GET": "endpoint:read"},
    "deployments": {"GET": "endpoint:read"},
    "deployments/<str:deployment_id>": {"GET": "endpoint:read"},
    "rollouts": {"GET": "endpoint:read", "POST": "endpoint:write"},
    "rollouts/<str:rollout_id>": {"GET": "endpoint:read"},
    "rollouts/<str:rollout_id>/pause": {"POST": "endpoint:write"},
    "rollouts/<str:rollout_id>/resume": {"POST": "endpoint:write"},
    "rollouts/<str:rollout_id>/promote": {"POST": "endpoint:write"},
    "rollouts/<str:rollout_id>/abort": {"POST": "endpoint:write"},
    "rollouts/<str:rollout_id>/events": {"GET": "endpoint:read"},
    "projects/<str:project_id>/traffic-policy": {"GET": "traffic_policy:read", "PUT": "traffic_policy:write"},
    "projects/<str:project_id>/traffic": {"GET": "traffic_policy:read", "DELETE": "traffic:delete"},
    "projects/<str:project_id>/traffic-export": {"GET": "traffic:export"},
    "projects/<str:project_id>/traffic-erasures": {"GET": "traffic_policy:read"},
    "speculators": {"GET": "speculator:read"},
    "speculators/<str:speculator_id>": {"GET": "speculator:read"},
    "speculators/<str:speculator_id>/policy": {"GET": "speculator:read", "PUT": "speculator:write"},
    "speculators/<str:speculator_id>/events": {"GET": "speculator:read"},
    "speculators/<str:speculator_id>/training-estimate": {"GET": "training:read"},
    "speculators/<str:speculator_id>/rollback": {"POST": "speculator:write"},
    "speculators/<str:speculator_id>/freeze": {"POST": "speculator:write"},
    "speculators/<str:speculator_id>/thaw": {"POST": "speculator:write"},
    "speculator-versions": {"GET": "speculator:read"},
    "speculator-versions/<str:version_id>": {"GET": "speculator:read"},
    "speculator-versions/<str:version_id>/promote": {"POST": "speculator:write"},
    "speculator-versions/<str:version_id>/pin": {"POST": "speculator:write"},
    "speculator-versions/<str:version_id>/retire": {"POST": "speculator:write"},
    "speculator-versions/<str:version_id>/export": {"GET": "speculator:export"},
    "speculator-versions/<str:version_id>/compare": {"GET": "speculator:read"},
    "speculator-versions/<str:version_id>/events": {"GET": "speculator:read"},
    "training-runs": {"GET": "training:read", "POST": "training:write"},
    "training-runs/<str:run_id>": {"GET": "training:read"},
    "training-runs/<str:run_id>/cancel": {"POST": "training:write"},
    "training-runs/<str:run_id>/events": {"GET": "training:read"},
    "webhooks": {"GET": "webhook:read", "POST": "webhook:write"},
    "webhooks/<str:webhook_id>": {"GET": "webhook:read", "PATCH": "webhook:write", "DELETE": "webhook:write"},
    "webhooks/<str:webhook_id>/rotate-secret": {"POST": "webhook:write"},
    "webhooks/<str:webhook_id>/test": {"POST": "webhook:write"},
    "webhook-deliveries": {"GET": "webhook:read"},
    "webhook-deliveries/<str:delivery_id>": {"GET": "webhook:read"},
    "webhook-deliveries/<str:delivery_id>/replay": {"POST": "webhook:write"},
}
# Of an organization that a parameter names.
REPORTS = {
    "usage": "usage:read",
    "statements": "statement:read",
    "audit-events/export": "audit:read",
    "audit-events/verification": "audit:read",
}
# Where the permission is checked besides the one of the operation, and the test that shows it.
ELSEWHERE = {
    "organization:security": "tenants/test_accounts.py: only an owner requires a second factor",
}
# Everybody sees their own organizations.
OPEN = {"organizations"}


def _operations(route: str) -> list[str]:
    case = ROUTES[route]
    if isinstance(case, ObjectRoute):
        return list(case.bodies)
    assert isinstance(case, ListRoute)
    return ["GET", *(["POST"] if case.create is not None else [])]


def test_every_operation_says_what_it_needs_and_every_permission_guards_something() -> None:
    named = {route for route, case in ROUTES.items() if isinstance(case, (ObjectRoute, ListRoute))}
    assert named == NEEDS.keys() | REPORTS.keys() | OPEN
    for route, needs in NEEDS.items():
        assert set(_operations(route)) == set(needs), route
    guarding = {permission for needs in NEEDS.values() for permission in needs.values()}
    unused = PERMISSIONS.keys() - guarding - set(REPORTS.values()) - ELSEWHERE.keys()
    assert not unused


def _send(api: Api, tenant: Tenant, route: str, method: str) -> Any:
    """Nothing stays: a write is only validated."""
    case = ROUTES[route]
    suffix = "" if method == "GET" else "?validate_only=true"
    if isinstance(case, ObjectRoute):
        return api.send(method, _path(route, case.ids(tenant)) + suffix, case.bodies[method], **case.headers)
    assert isinstance(case, ListRoute)
    case.prepare(tenant)
    body = case.create(tenant) if method == "POST" and case.create is not None else None
    return api.send(method, f"/api/v1/{route}{suffix}", body)


def _is_refused(answer: Any, route: str, method: str, permission: str) -> bool:
    if isinstance(ROUTES.get(route), ListRoute) and method == "GET":
        return bool(answer.json()["data"] == [])  # a list holds what one may read
    if answer.status_code != 403 or "permission" not in answer.json()["detail"]:
        assert answer.status_code != 404, (route, method, answer.content)
        return False
    assert answer.json()["detail"] == f"This needs the permission {permission}.", (route, method)
    return True


@pytest.mark.parametrize("role", ROLES)
def test_a_role_does_what_its_permissions_say_and_nothing_else(alice: Tenant, role: str) -> None:
    api = api_with_role(alice, role)
    wrong = {}
    for route, needs in NEEDS.items():
        for method, permission in needs.items():
            refused = _is_refused(_send(api, alice, route, method), route, method, permission)
            if refused == allows(role, permission):
                wrong[route, method] = "refused" if refused else "let in"
    for route, permission in REPORTS.items():
        answer = api.get(f"/api/v1/{route}?organization_id={alice.organization.id}")
        if _is_refused(answer, route, "GET", permission) == allows(role, permission):
            wrong[route, "GET"] = answer.status_code
    assert wrong == {}


def _is_closed(answer: Any, route: str, method: str) -> bool:
    if isinstance(ROUTES.get(route), ListRoute) and method == "GET":
        return bool(answer.json()["data"] == [])
    return bool(answer.status_code == 403)


def test_a_scope_opens_no_operation_of_another(alice: Tenant) -> None:
    """The owner's rights, narrowed to one permission at a time."""
    opened = []
    for scope in sorted({permission for needs in NEEDS.values() for permission in needs.values()}):
        api = api_with_role(alice, "owner", scopes=[scope])
        for route, needs in NEEDS.items():
            for method, permission in needs.items():
                if permission != scope and not _is_closed(_send(api, alice, route, method), route, method):
                    opened.append((scope, method, route))
        ServiceKey.objects.filter(organization=alice.organization, scopes=[scope]).delete()
    assert opened == []
