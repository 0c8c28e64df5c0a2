"""How many queries each list takes: the same for 2 rows as for 20, and exactly the number in query_counts.json.

After a change on purpose: `SLIPSTREAM_RECORD_QUERY_COUNTS=1 pytest tests/control_plane/test_query_counts.py`, and look
at the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from control_plane.billing import ingestion
from control_plane.billing.services import create_price
from control_plane.common.states import record_event
from control_plane.endpoints.models import CatalogueModel
from control_plane.endpoints.services import create_endpoint, update_endpoint
from control_plane.fleet import operations
from control_plane.fleet.models import Node
from control_plane.fleet.registration import create_token
from control_plane.speculators.policy import SpeculatorPolicy, set_policy
from control_plane.speculators.services import ensure_speculator
from control_plane.tenants import service_accounts
from control_plane.tenants import services as tenants
from control_plane.tenants.invitations import invite
from control_plane.tenants.models import Membership, User
from control_plane.tenants.placements import move
from control_plane.training.erasure import request_erasure
from control_plane.training.models import TrainingRun
from control_plane.webhooks.models import Webhook, WebhookAttempt
from control_plane.webhooks.services import create_webhook, send_test
from dataplane import contracts
from tests.control_plane import learning
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.openapi import list_routes
from tests.control_plane.tenant import Api, Tenant
from tests.control_plane.test_isolation import ROUTES, ObjectRoute

RECORD = Path(__file__).with_name("query_counts.json")
RECORDING = os.environ.get("SLIPSTREAM_RECORD_QUERY_COUNTS") == "1"
FEW, MANY = 2, 20
FIXED = {"permissions"}  # a table in the code: no query, and nothing that grows

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Listed:
    """grow: one row more, number `n`. query: parameters that the list needs. reader: who asks, if not alice's key."""

    grow: Callable[[Tenant, int], Any]
    query: Callable[[Tenant], str] = lambda tenant: ""
    reader: Callable[[Tenant], Api] = lambda tenant: tenant.api


def _model(n: int) -> CatalogueModel:
    return CatalogueModel.objects.get_or_create(
        id=f"model-{n}", defaults={"name": "x", "folder": "x", "context_length": 256}
    )[0]


def _hardware(tenant: Tenant, n: int) -> None:
    CatalogueModel.objects.create(id=f"m-{n}", name="x", folder="x", context_length=256, hardware=f"kind-{n}")


def _person(n: int) -> User:
    return User.objects.create_user(f"person-{n}-{uuid4().hex[:8]}@example.com")


def _session(user: User) -> Api:
    api = Api()
    api.client.force_login(user)
    return api


def _operator(tenant: Tenant) -> Api:
    user = User.objects.filter(is_staff=True).first() or User.objects.create_user("op@example.com", is_staff=True)
    return _session(user)


def _version(tenant: Tenant, n: int) -> Any:
    return learning.make_version(_learner(tenant, tenant.endpoint.model))


def _learner(tenant: Tenant, model: CatalogueModel) -> learning.Tenant:
    speculator = ensure_speculator(tenant.project, model.id)
    return learning.Tenant(tenant.project, tenant.endpoint, speculator)


def _speculator(tenant: Tenant, n: int) -> None:
    learning.make_version(_learner(tenant, _model(n)), state="active")


def _adaptation(tenant: Tenant, n: int) -> None:
    speculator = _learner(tenant, tenant.endpoint.model).speculator
    set_policy(speculator, SpeculatorPolicy(every_hours=n + 1), actor="x")


def _run(tenant: Tenant, n: int, **values: Any) -> TrainingRun:
    version = _version(tenant, n)
    return TrainingRun.objects.create(
        organization=tenant.organization,
        project=tenant.project,
        speculator=version.speculator,
        trigger="manual",
        state="succeeded",
        version=version,
        incumbent=version,
        finished_at=timezone.now(),
    )


def _event(rows: str, **filters: Any) -> Callable[[Tenant, int], None]:
    """One event more of the row that the route's case names."""

    def grow(tenant: Tenant, n: int) -> None:
        from django.apps import apps

        (_, row_id), *_ = ROUTES[filters["route"]].ids(tenant).items()  # type: ignore[union-attr]
        row = apps.get_model(rows)._base_manager.get(pk=row_id)
        record_event(row, before=row.state, code=f"event-{n}")

    return grow


def _usage(tenant: Tenant, n: int) -> None:
    node = Node.objects.filter(name="metered").first()
    node_id = node.id if node else FakeNode("metered").id
    event = replace(usage_event(tenant, n), status=["completed", "timeout"][n % 2], finished_at=_days_ago(n))
    item = sequenced([event], start=n + 1)
    ingestion.ingest(node_id, contracts.to_dict(item))


def _days_ago(n: int) -> str:
    return (timezone.now() - timedelta(days=n)).isoformat()


def _quarantined(tenant: Tenant, n: int) -> None:
    node_id = (Node.objects.filter(name="odd").first() or Node.objects.get(pk=FakeNode("odd").id)).id
    ingestion.ingest(node_id, [{"boot_id": "boot-1", "seq": n + 1, "event": {}}])


def _webhook(tenant: Tenant, n: int) -> Webhook:
    url = f"https://hooks.example.com/{n}"
    return create_webhook(tenant.organization, url=url, event_types=["*"], actor="x")[0]


def _delivery(tenant: Tenant, n: int) -> None:
    webhook = Webhook.objects.filter(organization=tenant.organization).first() or _webhook(tenant, n)
    delivery = send_test(webhook, actor="x")
    for _ in range(2):
        WebhookAttempt.objects.create(organization=tenant.organization, delivery=delivery, error="timeout")


def _placed(tenant: Tenant, n: int) -> None:
    project = tenants.create_project(tenant.organization, name=f"project {n}", actor="x")
    move(add=[(project.id, Node.objects.get().id)])


LISTS: dict[str, Listed] = {
    "organizations": Listed(
        lambda tenant, n: tenants.create_organization(f"x{n}", owner=tenant.user),
        reader=lambda tenant: _session(tenant.user),
    ),
    "organizations/<str:organization_id>/members": Listed(
        lambda tenant, n: Membership.objects.create(organization=tenant.organization, user=_person(n), role="viewer")
    ),
    "projects": Listed(lambda tenant, n: tenants.create_project(tenant.organization, name=f"x{n}", actor="x")),
    "api-keys": Listed(lambda tenant, n: tenants.create_api_key(tenant.project, name=f"x{n}", actor="x")),
    "organizations/<str:organization_id>/invitations": Listed(
        lambda tenant, n: invite(
            tenant.organization, email=f"x{n}@example.com", role="viewer", principal=tenant.principal
        )
    ),
    "service-accounts": Listed(
        lambda tenant, n: service_accounts.create_service_account(
            tenant.organization, name=f"x{n}", role="viewer", principal=tenant.principal
        )
    ),
    "service-keys": Listed(
        lambda tenant, n: service_accounts.create_service_key(
            tenant.organization, name=f"x{n}", role="viewer", principal=tenant.principal
        )
    ),
    "audit-events": Listed(
        lambda tenant, n: tenants.update_organization(
            tenant.organization, {"name": f"x{n}"}, principal=tenant.principal
        )
    ),
    "models": Listed(lambda tenant, n: _model(n)),
    "endpoints": Listed(lambda tenant, n: create_endpoint(tenant.project, name=f"x{n}", model=_model(n), actor="x")),
    "endpoints/<str:endpoint_id>/events": Listed(
        _event("endpoints.Endpoint", route="endpoints/<str:endpoint_id>/events")
    ),
    "deployments": Listed(
        lambda tenant, n: update_endpoint(tenant.endpoint, {"max_lookahead": n % 9}, actor="x"),
        query=lambda tenant: f"endpoint_id={tenant.endpoint.id}",
    ),
    "rollouts": Listed(
        lambda tenant, n: update_endpoint(tenant.endpoint, {"max_lookahead": n % 9}, actor="x"),
        query=lambda tenant: f"endpoint_id={tenant.endpoint.id}",
    ),
    "rollouts/<str:rollout_id>/events": Listed(_event("endpoints.Rollout", route="rollouts/<str:rollout_id>/events")),
    "hardware": Listed(_hardware),
    "projects/<str:project_id>/traffic-erasures": Listed(lambda tenant, n: request_erasure(tenant.project, actor="x")),
    "speculators": Listed(_speculator),
    "speculators/<str:speculator_id>/events": Listed(_adaptation),
    "speculator-versions": Listed(_version),
    "speculator-versions/<str:version_id>/events": Listed(
        _event("speculators.SpeculatorVersion", route="speculator-versions/<str:version_id>/events")
    ),
    "training-runs": Listed(_run),
    "training-runs/<str:run_id>/events": Listed(
        _event("training.TrainingRun", route="training-runs/<str:run_id>/events")
    ),
    "webhooks": Listed(_webhook),
    "webhook-deliveries": Listed(_delivery),
    "usage": Listed(_usage, query=lambda tenant: "group_by=day,status,key&start=2020-01-01T00:00:00Z"),
    "prices": Listed(
        lambda tenant, n: create_price(
            _model(n), effective_from=timezone.now(), prompt=1, cached=1, completion=1, actor="x"
        )
    ),
    "quarantined-usage": Listed(_quarantined, reader=_operator),
    "nodes": Listed(lambda tenant, n: FakeNode(f"node-{n}"), reader=_operator),
    "nodes/<str:node_id>/events": Listed(
        lambda tenant, n: record_event(Node.objects.get(), before="", code="x"), reader=_operator
    ),
    "nodes/<str:node_id>/placements": Listed(_placed, reader=_operator),
    "node-tokens": Listed(lambda tenant, n: create_token(actor="x"), reader=_operator),
    "operator-events": Listed(
        lambda tenant, n: operations.audit(actor="x", action="x.y", target="x"), reader=_operator
    ),
}


def _path(route: str, tenant: Tenant) -> str:
    case = ROUTES[route]
    ids = case.ids(tenant) if isinstance(case, ObjectRoute) else {}
    if "<str:node_id>" in route:
        ids = {"node_id": (Node.objects.first() or Node.objects.get(pk=FakeNode().id)).id}
    for name, value in ids.items():
        route = route.replace(f"<str:{name}>", value)
    return f"/api/v1/{route}?"


def _measure(api: Api, path: str) -> tuple[int, int]:
    """Queries and rows. The second request counts: the first one may note that the key is used."""
    api.get(path)
    with CaptureQueriesContext(connection) as captured:
        answer = api.get(path)
    assert answer.status_code == 200, answer.content
    return len(captured), len(answer.json()["data"])


def test_every_list_has_a_case_and_every_case_a_list() -> None:
    """A new list: add it to LISTS with what makes one row more, then record its count (see above)."""
    assert set(list_routes()) - FIXED == set(LISTS)


@pytest.mark.parametrize("route", sorted(LISTS))
def test_a_list_takes_the_recorded_number_of_queries_whatever_its_length(route: str, alice: Tenant) -> None:
    case = LISTS[route]
    path, api = _path(route, alice), case.reader(alice)
    path += "&".join(
        part for part in (case.query(alice), "" if route in ("usage", "models", "hardware") else "limit=100") if part
    )
    for n in range(FEW):
        case.grow(alice, n)
    few, rows_before = _measure(api, path)
    for n in range(FEW, MANY):
        case.grow(alice, n)
    many, rows_after = _measure(api, path)
    assert rows_after - rows_before == MANY - FEW
    assert many == few, f"{route}: {few} queries for {rows_before} rows, {many} for {rows_after}"
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if RECORDING:
        recorded[route] = many
        RECORD.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    assert recorded.get(route) == many, "record the count, if the change is on purpose"


def test_nothing_is_recorded_that_is_no_list_any_more() -> None:
    assert sorted(json.loads(RECORD.read_text())) == sorted(LISTS)
