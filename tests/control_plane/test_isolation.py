"""Every route of the management API, tried by another tenant. A route without a case here fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from control_plane.common.routes import routes
from control_plane.common.states import transition
from control_plane.endpoints.deployments import active_deployment, changed, open_rollout
from control_plane.endpoints.models import Endpoint
from control_plane.endpoints.rollout_plan import DEFAULTS
from control_plane.endpoints.rollouts import pause, start
from control_plane.endpoints.services import create_endpoint, set_desired_state, update_endpoint
from control_plane.speculators.models import Speculator
from control_plane.speculators.services import ensure_speculator, set_traffic_policy
from control_plane.tenants.invitations import invite
from control_plane.tenants.models import Invitation, Membership
from control_plane.training.models import TrainingRun
from control_plane.training.services import start_run
from control_plane.webhooks.models import Webhook, WebhookDelivery
from control_plane.webhooks.services import create_webhook, send_test
from tests.control_plane import learning
from tests.control_plane.tenancy import footprint
from tests.control_plane.tenant import Api, Tenant, api_with_role

ABSENT = {
    "organization_id": "org_00000000000000000000000000",
    "project_id": "prj_00000000000000000000000000",
    "endpoint_id": "ep_00000000000000000000000000",
    "speculator_id": "spk_00000000000000000000000000",
}


@dataclass(frozen=True)
class ObjectRoute:
    """A path to something of a tenant. bodies: for each method, a valid body (made of the owner's objects)."""

    ids: Callable[[Tenant], dict[str, str]]
    bodies: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ListRoute:
    """A list, in which strangers find nothing of the tenant. create: a body that names the tenant's objects."""

    create: Callable[[Tenant], dict[str, Any]] | None = None
    prepare: Callable[[Tenant], Any] = lambda tenant: None
    filters: Callable[[Tenant], dict[str, str]] | None = None


@dataclass(frozen=True)
class OperatorRoute:
    """Closed to all tenants."""

    method: str = "GET"


@dataclass(frozen=True)
class PublicRoute:
    """The same for everybody who is signed in; holds nothing of any tenant."""


def _organization(tenant: Tenant) -> dict[str, str]:
    return {"organization_id": tenant.organization.id}


def _project(tenant: Tenant) -> dict[str, str]:
    return {"project_id": tenant.project.id}


def _endpoint(tenant: Tenant) -> dict[str, str]:
    return {"endpoint_id": tenant.endpoint.id}


def _member(tenant: Tenant) -> dict[str, str]:
    member = Membership.objects.get(organization=tenant.organization, user=tenant.user)
    return {"organization_id": tenant.organization.id, "member_id": member.id}


def _api_key(tenant: Tenant) -> dict[str, str]:
    return {"key_id": tenant.api_key.id}


def _service_key(tenant: Tenant) -> dict[str, str]:
    return {"key_id": tenant.service_key.id}


def _invitation(tenant: Tenant) -> dict[str, str]:
    rows = Invitation.objects.filter(organization=tenant.organization, revoked_at=None)
    found = rows.first() or invite(
        tenant.organization, email="dora@example.com", role="viewer", principal=tenant.principal
    )
    return {"organization_id": tenant.organization.id, "invitation_id": found.id}


def _service_account(tenant: Tenant) -> dict[str, str]:
    return {"account_id": tenant.service_key.account_id}


def _speculator(tenant: Tenant) -> dict[str, str]:
    return {"speculator_id": ensure_speculator(tenant.project, tenant.endpoint.model_id).id}


def _version(tenant: Tenant) -> dict[str, str]:
    speculator = ensure_speculator(tenant.project, tenant.endpoint.model_id)
    found = speculator.versions.filter(project=tenant.project).first()
    found = found or learning.make_version(learning.Tenant(tenant.project, tenant.endpoint, speculator))
    return {"version_id": found.id}


def _trainable(tenant: Tenant) -> dict[str, str]:
    consent = {"capture": True, "sample_rate": 1.0, "retention_days": 30}
    set_traffic_policy(tenant.project, actor=tenant.user.id, **consent)
    return _speculator(tenant)


def _run(tenant: Tenant) -> dict[str, str]:
    found = TrainingRun.objects.filter(project=tenant.project).first()
    if found is None:
        speculator = Speculator.objects.filter(project=tenant.project).get(pk=_trainable(tenant)["speculator_id"])
        found = start_run(speculator, trigger="manual", actor=tenant.user.id)
    return {"run_id": found.id}


def _other_endpoint(tenant: Tenant) -> dict[str, str]:
    """One without an open rollout."""
    found = Endpoint.objects.filter(project=tenant.project, name="other").first()
    found = found or create_endpoint(tenant.project, name="other", model=tenant.endpoint.model, actor=tenant.user.id)
    return {"endpoint_id": found.id}


def _changed_once(tenant: Tenant) -> dict[str, str]:
    update_endpoint(tenant.endpoint, {"max_lookahead": 5}, actor=tenant.user.id)
    return _endpoint(tenant)


def _deployment(tenant: Tenant) -> dict[str, str]:
    return {"deployment_id": active_deployment(tenant.endpoint).id}


def _rollout(tenant: Tenant) -> dict[str, str]:
    """An open one."""
    found = open_rollout(tenant.endpoint)
    if found is None:
        spec = changed(active_deployment(tenant.endpoint), {"max_lookahead": 3})
        assert spec is not None
        found = start(tenant.endpoint, spec, DEFAULTS["canary"], actor=tenant.user.id)
    return {"rollout_id": found.id}


def _paused(tenant: Tenant) -> dict[str, str]:
    found = _rollout(tenant)
    row = open_rollout(tenant.endpoint)
    if row is not None and row.state != "paused":
        pause(row, actor=tenant.user.id)
    return found


def _gone(tenant: Tenant) -> dict[str, str]:
    """Another endpoint, which is deleted."""
    found = Endpoint.objects.filter(project=tenant.project, desired_state="deleted").first()
    if found is None:
        made = create_endpoint(tenant.project, name="gone", model=tenant.endpoint.model, actor=tenant.user.id)
        found = set_desired_state(made, "deleted", actor=tenant.user.id)
    return {"endpoint_id": found.id}


def _webhook(tenant: Tenant) -> dict[str, str]:
    found = Webhook.objects.filter(organization=tenant.organization).first()
    if found is None:
        found, _ = create_webhook(
            tenant.organization, url="https://hooks.example.com/x", event_types=["*"], actor=tenant.user.id
        )
    return {"webhook_id": found.id}


def _delivery(tenant: Tenant) -> dict[str, str]:
    """One that has ended."""
    webhook = Webhook.objects.filter(organization=tenant.organization).get(pk=_webhook(tenant)["webhook_id"])
    found = WebhookDelivery.objects.filter(webhook=webhook, state="delivered").first()
    if found is None:
        made = send_test(webhook, actor=tenant.user.id)
        found = transition(made, "delivered", next_attempt_at=None)
    return {"delivery_id": found.id}


ROUTES: dict[str, ObjectRoute | ListRoute | OperatorRoute | PublicRoute] = {
    "organizations": ListRoute(),
    "organizations/<str:organization_id>": ObjectRoute(_organization, {"GET": None, "PATCH": {"name": "x"}}),
    "permissions": PublicRoute(),
    "organizations/<str:organization_id>/members": ObjectRoute(_organization, {"GET": None}),
    "organizations/<str:organization_id>/invitations": ObjectRoute(
        _organization, {"GET": None, "POST": {"email": "eve@example.com", "role": "viewer"}}
    ),
    "organizations/<str:organization_id>/invitations/<str:invitation_id>": ObjectRoute(
        _invitation, {"GET": None, "DELETE": None}
    ),
    "organizations/<str:organization_id>/invitations/<str:invitation_id>/resend": ObjectRoute(
        _invitation, {"POST": None}
    ),
    "invitations/accept": PublicRoute(),  # by whoever was invited: tests/control_plane/tenants/test_invitations.py
    "organizations/<str:organization_id>/members/<str:member_id>": ObjectRoute(
        _member, {"PATCH": {"role": "viewer"}, "DELETE": None}
    ),
    "projects": ListRoute(create=lambda tenant: {**_organization(tenant), "name": "x"}, filters=_organization),
    "projects/<str:project_id>": ObjectRoute(_project, {"GET": None, "PATCH": {"name": "x"}}),
    "api-keys": ListRoute(create=lambda tenant: {**_project(tenant), "name": "x"}, filters=_project),
    "api-keys/<str:key_id>": ObjectRoute(_api_key, {"GET": None, "DELETE": None}),
    "api-keys/<str:key_id>/rotate": ObjectRoute(_api_key, {"POST": {}}),
    "service-accounts": ListRoute(
        create=lambda tenant: {**_organization(tenant), "name": "x", "role": "viewer"}, filters=_organization
    ),
    "service-accounts/<str:account_id>": ObjectRoute(_service_account, {"GET": None, "PATCH": {"name": "x"}}),
    "service-keys/<str:key_id>/rotate": ObjectRoute(_service_key, {"POST": {}}),
    "service-keys": ListRoute(
        create=lambda tenant: {**_organization(tenant), "name": "x", "role": "viewer"}, filters=_organization
    ),
    "service-keys/<str:key_id>": ObjectRoute(_service_key, {"GET": None, "DELETE": None}),
    "audit-events": ListRoute(filters=_organization),
    "models": PublicRoute(),
    "models/<str:model_id>": PublicRoute(),
    "hardware": PublicRoute(),
    "cost-estimates": PublicRoute(),
    "endpoints": ListRoute(
        create=lambda tenant: {**_project(tenant), "name": "x", "model": tenant.endpoint.model_id}, filters=_project
    ),
    "endpoints/<str:endpoint_id>": ObjectRoute(
        _endpoint, {"GET": None, "PATCH": {"max_lookahead": 1}, "DELETE": None}, {"If_Match": "*"}
    ),
    "endpoints/<str:endpoint_id>/start": ObjectRoute(_endpoint, {"POST": None}),
    "endpoints/<str:endpoint_id>/stop": ObjectRoute(_endpoint, {"POST": None}),
    "endpoints/<str:endpoint_id>/undelete": ObjectRoute(_gone, {"POST": {"name": "back-again"}}),
    "endpoints/<str:endpoint_id>/rollback": ObjectRoute(_changed_once, {"POST": None}),
    "deployments": ListRoute(filters=_endpoint),
    "deployments/<str:deployment_id>": ObjectRoute(_deployment, {"GET": None}),
    "rollouts": ListRoute(
        prepare=_rollout,
        create=lambda tenant: {**_other_endpoint(tenant), "deployment": {"max_lookahead": 2}},
        filters=_endpoint,
    ),
    "rollouts/<str:rollout_id>": ObjectRoute(_rollout, {"GET": None}),
    "rollouts/<str:rollout_id>/pause": ObjectRoute(_rollout, {"POST": None}),
    "rollouts/<str:rollout_id>/resume": ObjectRoute(_paused, {"POST": None}),
    "rollouts/<str:rollout_id>/promote": ObjectRoute(_rollout, {"POST": None}),
    "rollouts/<str:rollout_id>/abort": ObjectRoute(_rollout, {"POST": {"reason": "x"}}),
    "rollouts/<str:rollout_id>/events": ObjectRoute(_rollout, {"GET": None}),
    "endpoints/<str:endpoint_id>/events": ObjectRoute(_endpoint, {"GET": None}),
    "projects/<str:project_id>/traffic-policy": ObjectRoute(_project, {"GET": None, "PUT": {"capture": True}}),
    "projects/<str:project_id>/traffic": ObjectRoute(_project, {"GET": None, "DELETE": None}),
    "projects/<str:project_id>/traffic-erasures": ObjectRoute(
        _project, {"GET": None, "POST": {"end_user": "jane@example.com"}}
    ),
    "projects/<str:project_id>/traffic-export": ObjectRoute(_project, {"GET": None}),
    "speculators": ListRoute(prepare=_speculator, filters=_project),
    "speculators/<str:speculator_id>": ObjectRoute(_speculator, {"GET": None}),
    "speculators/<str:speculator_id>/policy": ObjectRoute(_speculator, {"GET": None, "PUT": {"promotion": "manual"}}),
    "speculators/<str:speculator_id>/events": ObjectRoute(_speculator, {"GET": None}),
    "speculators/<str:speculator_id>/training-estimate": ObjectRoute(_speculator, {"GET": None}),
    "speculators/<str:speculator_id>/rollback": ObjectRoute(_speculator, {"POST": {}}),
    "speculators/<str:speculator_id>/freeze": ObjectRoute(_speculator, {"POST": None}),
    "speculators/<str:speculator_id>/thaw": ObjectRoute(_speculator, {"POST": None}),
    "speculator-versions": ListRoute(prepare=_version, filters=_speculator),
    "speculator-versions/<str:version_id>": ObjectRoute(_version, {"GET": None}),
    "speculator-versions/<str:version_id>/promote": ObjectRoute(_version, {"POST": None}),
    "speculator-versions/<str:version_id>/pin": ObjectRoute(_version, {"POST": None}),
    "speculator-versions/<str:version_id>/retire": ObjectRoute(_version, {"POST": {}}),
    "speculator-versions/<str:version_id>/export": ObjectRoute(_version, {"GET": None}),
    "speculator-versions/<str:version_id>/compare": ObjectRoute(_version, {"GET": None}),
    "speculator-versions/<str:version_id>/events": ObjectRoute(_version, {"GET": None}),
    "training-runs": ListRoute(prepare=_run, create=_trainable, filters=_project),
    "training-runs/<str:run_id>": ObjectRoute(_run, {"GET": None}),
    "training-runs/<str:run_id>/cancel": ObjectRoute(_run, {"POST": None}),
    "training-runs/<str:run_id>/events": ObjectRoute(_run, {"GET": None}),
    "webhooks": ListRoute(
        create=lambda tenant: {**_organization(tenant), "url": "https://hooks.example.com/y", "event_types": ["*"]},
        prepare=_webhook,
        filters=_organization,
    ),
    "webhooks/<str:webhook_id>": ObjectRoute(
        _webhook, {"GET": None, "PATCH": {"description": "x", "event_types": ["audit.*"]}, "DELETE": None}
    ),
    "webhooks/<str:webhook_id>/rotate-secret": ObjectRoute(_webhook, {"POST": {}}),
    "webhooks/<str:webhook_id>/test": ObjectRoute(_webhook, {"POST": None}),
    "webhook-deliveries": ListRoute(prepare=_delivery, filters=_webhook),
    "webhook-deliveries/<str:delivery_id>": ObjectRoute(_delivery, {"GET": None}),
    "webhook-deliveries/<str:delivery_id>/replay": ObjectRoute(_delivery, {"POST": None}),
    "audit-events/export": ObjectRoute(lambda tenant: {}, {}),
    "audit-events/verification": ObjectRoute(lambda tenant: {}, {}),
    "usage": ObjectRoute(lambda tenant: {}, {}),  # its organization is a parameter: see below
    "statements": ObjectRoute(lambda tenant: {}, {}),
    "prices": PublicRoute(),
    "quarantined-usage": OperatorRoute(),
    "nodes": OperatorRoute(),
    "nodes/<str:node_id>": OperatorRoute(),
    "nodes/<str:node_id>/events": OperatorRoute(),
    "nodes/<str:node_id>/placements": OperatorRoute(),
    "nodes/<str:node_id>/cordon": OperatorRoute("POST"),
    "nodes/<str:node_id>/uncordon": OperatorRoute("POST"),
    "nodes/<str:node_id>/drain": OperatorRoute("POST"),
    "nodes/<str:node_id>/revoke-credential": OperatorRoute("POST"),
    "node-tokens": OperatorRoute(),
    "node-tokens/<str:token_id>": OperatorRoute(),
    "operator-events": OperatorRoute(),
    "capacity": OperatorRoute(),
    "schema": PublicRoute(),
    "docs": PublicRoute(),
}


def _management_routes() -> list[str]:
    return [route.path.removeprefix("api/v1/") for route in routes("api/v1/")]


def _path(route: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        route = route.replace(f"<str:{name}>", value)
    assert "<" not in route, route
    return f"/api/v1/{route}"


def _of_kind(kind: type) -> list[str]:
    return [route for route, case in ROUTES.items() if isinstance(case, kind)]


def test_every_route_has_a_case_and_every_case_a_route() -> None:
    """A new route: add it to ROUTES, with the ids of its owner's objects and a valid body for each method."""
    assert _management_routes() == sorted(ROUTES)


@pytest.mark.parametrize("route", _management_routes())
def test_nobody_is_let_in_without_credentials(db: None, route: str) -> None:
    path = route.replace("<str:", "").replace(">", "")
    expected = (200,) if route in ("schema", "docs") else (401,)
    assert Api().get(f"/api/v1/{path}").status_code in expected


@pytest.mark.parametrize("route", _of_kind(ObjectRoute))
def test_another_tenants_object_is_the_same_404_as_an_absent_one(alice: Tenant, bob: Tenant, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, ObjectRoute)
    theirs = case.ids(alice)
    absent = {name: value[: value.index("_") + 1] + "0" * 26 for name, value in theirs.items()}
    for method, body in case.bodies.items():
        before = footprint(alice.organization.id)
        foreign = bob.api.send(method, _path(route, theirs), body, **case.headers)
        missing = bob.api.send(method, _path(route, absent), body, **case.headers)
        assert (foreign.status_code, missing.status_code) == (404, 404), (method, foreign.content)
        assert foreign.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
        assert footprint(alice.organization.id).differences(before) == {}, method


@pytest.mark.parametrize("route", _of_kind(ObjectRoute))
def test_the_owner_is_let_in(alice: Tenant, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, ObjectRoute)
    for method, body in case.bodies.items():
        answer = alice.api.send(method, _path(route, case.ids(alice)), body, **case.headers)
        assert answer.status_code < 300 or answer.json()["code"] in ("last_owner", "nothing_active"), (
            method,
            answer.content,
        )


@pytest.mark.parametrize("route", _of_kind(ListRoute))
def test_lists_hold_nothing_of_another_tenant(alice: Tenant, bob: Tenant, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, ListRoute)
    case.prepare(alice)
    ids = {item["id"] for item in alice.api.get(f"/api/v1/{route}").json()["data"]}
    assert ids
    assert not ids & {item["id"] for item in bob.api.get(f"/api/v1/{route}").json()["data"]}
    if case.filters is not None:
        query = "&".join(f"{name}={value}" for name, value in case.filters(alice).items())
        assert bob.api.get(f"/api/v1/{route}?{query}").json()["data"] == []


@pytest.mark.parametrize("route", [route for route in _of_kind(ListRoute) if getattr(ROUTES[route], "create", None)])
def test_nothing_is_created_inside_of_another_tenant(alice: Tenant, bob: Tenant, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, ListRoute)
    assert case.create is not None
    body = case.create(alice)
    before = footprint(alice.organization.id)
    assert bob.api.post(f"/api/v1/{route}", body).status_code == 404
    assert bob.api.post(f"/api/v1/{route}", body | _absent_of(body)).status_code == 404
    assert footprint(alice.organization.id) == before
    assert alice.api.post(f"/api/v1/{route}", case.create(alice)).status_code in (201, 202)


def _absent_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in ABSENT.items() if name in body}


@pytest.mark.parametrize("route", _of_kind(OperatorRoute))
def test_operators_paths_are_closed_to_tenants(alice: Tenant, operator: Api, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, OperatorRoute)
    path = _path(route, {"node_id": "node_" + "0" * 26, "token_id": "ntk_" + "0" * 26})
    assert alice.api.send(case.method, path).status_code == 403
    assert operator.send(case.method, path).status_code in (200, 404)


@pytest.mark.parametrize("route", ["usage", "statements", "audit-events/export", "audit-events/verification"])
def test_reports_of_another_organization_do_not_exist(alice: Tenant, bob: Tenant, route: str) -> None:
    path = f"/api/v1/{route}?organization_id="
    foreign, absent = bob.api.get(path + alice.organization.id), bob.api.get(path + ABSENT["organization_id"])
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert alice.api.get(path + alice.organization.id).status_code == 200
    foreign_project = bob.api.get(f"/api/v1/usage?project_id={alice.project.id}")
    assert foreign_project.status_code == 404


@pytest.mark.parametrize(
    ("role", "method", "route"),
    [
        ("viewer", "POST", "api-keys"),
        ("billing", "POST", "endpoints"),
        ("developer", "POST", "projects"),
        ("developer", "POST", "service-keys"),
    ],
)
def test_a_role_without_the_permission_is_told_so(alice: Tenant, role: str, method: str, route: str) -> None:
    case = ROUTES[route]
    assert isinstance(case, ListRoute)
    assert case.create is not None
    answer = api_with_role(alice, role).send(method, f"/api/v1/{route}", case.create(alice))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
