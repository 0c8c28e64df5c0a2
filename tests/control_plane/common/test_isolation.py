"""Row-level security: what holds even when a query forgets its tenant."""

from __future__ import annotations

import pytest
from django.db import ProgrammingError, connection, transaction

from control_plane.common.isolation import narrow
from control_plane.endpoints.models import Endpoint
from control_plane.tenants.models import ApiKey, Organization, Project
from tests.control_plane.tenant import Api, Tenant


def _scalar(sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_the_service_runs_as_a_role_that_policies_bind(db: None) -> None:
    assert _scalar("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user") is False


def test_a_narrowed_transaction_finds_nothing_of_others_whatever_it_asks(alice: Tenant, bob: Tenant) -> None:
    with transaction.atomic():
        narrow([alice.organization.id])
        assert set(Organization.objects.unscoped()) == {alice.organization}
        assert set(Project.objects.unscoped()) == {alice.project}
        assert set(ApiKey.objects.unscoped()) == {alice.api_key}
        assert Endpoint.objects.unscoped().filter(pk=bob.endpoint.pk).update(max_lookahead=1) == 0


def test_a_narrowed_transaction_writes_nothing_for_others(alice: Tenant, bob: Tenant) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        narrow([alice.organization.id])
        Project.objects.create(organization=bob.organization, name="x")


def test_without_a_setting_nothing_is_seen(alice: Tenant) -> None:
    with transaction.atomic():
        narrow([])
        assert not Organization.objects.unscoped().exists()


def test_a_request_is_narrowed_and_leaves_nothing_behind(alice: Tenant, bob: Tenant) -> None:
    assert alice.api.get("/api/v1/projects").status_code == 200
    assert alice.api.get("/api/v1/projects/none").status_code == 404
    assert _scalar("SELECT current_setting('slipstream.organizations', true)") == "*"


def test_a_person_founds_an_organization_and_sees_it(alice: Tenant) -> None:
    session = Api()
    session.client.force_login(alice.user)
    made = session.post("/api/v1/organizations", {"name": "second"})
    assert made.status_code == 201
    names = {row["name"] for row in session.get("/api/v1/organizations").json()["data"]}
    assert names == {"alice", "second"}
    assert alice.api.post("/api/v1/organizations", {"name": "third"}).status_code == 403
