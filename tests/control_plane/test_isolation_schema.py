"""What PostgreSQL itself refuses, read from its catalogue: no table, key or policy is listed by hand."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from control_plane.billing.models import UsageEvent
from control_plane.common.isolation import narrow
from control_plane.common.states import record_event
from control_plane.endpoints.models import Endpoint
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.tenancy import ORGANIZATION, columns_of, foreign_keys, tenant_tables
from tests.control_plane.tenant import Tenant

# Foreign keys between tenants' tables that need no second column: with the reason.
SINGLE_ON_PURPOSE: dict[tuple[str, str], str] = {}

# Tables without row-level security on purpose: with the reason.
UNSECURED_ON_PURPOSE: dict[str, str] = {}

pytestmark = pytest.mark.django_db


def _rows(sql: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def test_every_foreign_key_between_tenants_tables_names_the_tenant_too() -> None:
    """Add `composite_foreign_key(…)` to the migration (common/constraints.py), or a reason above."""
    tenants = tenant_tables()
    keys = [key for key in foreign_keys() if key.table in tenants and key.target in tenants]
    composite = {(key.table, column, key.target) for key in keys if len(key.columns) > 1 for column in key.columns}
    unguarded = []
    for key in keys:
        parent = tenants[key.table]
        is_only_tenancy = parent is not None and parent.column == key.columns[0]
        if len(key.columns) > 1 or key.target == ORGANIZATION or is_only_tenancy:
            continue
        if (key.table, key.columns[0], key.target) not in composite:
            unguarded.append((key.table, key.columns[0]))
    assert sorted(unguarded) == sorted(SINGLE_ON_PURPOSE)


def test_a_composite_key_begins_with_a_column_of_the_tenant() -> None:
    """(organization, id), or (project, id) of a project that is itself bound to its organization, and so on."""
    bound = {(key.table, key.columns) for key in foreign_keys()}
    for key in foreign_keys():
        if len(key.columns) == 1 or key.table not in tenant_tables():
            continue
        first = key.columns[0]
        chained = any(table == key.table and len(columns) > 1 and columns[1] == first for table, columns in bound)
        assert first == "organization_id" or chained, key


def test_every_table_of_tenants_forces_row_level_security() -> None:
    """Add `row_security(…)` or `row_security_through(…)` to the migration (common/constraints.py)."""
    secured = {name for (name,) in _rows("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")}
    policies = {name for (name,) in _rows("SELECT tablename FROM pg_policies WHERE cmd = 'ALL'")}
    wanted = set(tenant_tables()) - set(UNSECURED_ON_PURPOSE)
    assert secured == policies == wanted
    assert {name for name in tenant_tables() if "organization_id" in columns_of(name)} <= wanted


def test_every_policy_also_binds_what_is_written() -> None:
    without = _rows("SELECT tablename FROM pg_policies WHERE qual IS DISTINCT FROM with_check OR roles <> '{public}'")
    assert without == []


def test_the_runtime_role_owns_nothing_and_may_bypass_nothing() -> None:
    role = _rows("SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user")
    assert role == [(False, False, False, False)]
    assert _rows("SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user") == []
    assert _rows("SELECT proname FROM pg_proc WHERE pg_get_userbyid(proowner) = current_user") == []
    memberships = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = current_user::regrole"
    assert _rows(memberships) == []


def test_no_function_runs_with_the_rights_of_its_owner() -> None:
    """SECURITY DEFINER would step around every policy."""
    functions = "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    assert _rows(functions) == []


@pytest.mark.parametrize("seen", ["", "bob"])
def test_a_query_that_names_no_tenant_sees_no_row_of_another_in_any_table(
    alice: Tenant, bob: Tenant, seen: str
) -> None:
    FakeNode().send_usage(sequenced([usage_event(alice, 1), usage_event(bob, 2)]))
    counts = {name: _rows(f"SELECT count(*) FROM {name}")[0][0] for name in tenant_tables()}
    assert counts["billing_usageevent"] == 2 and counts["endpoints_endpointevent"] and counts["tenants_placement"]
    with transaction.atomic():
        narrow([bob.organization.id] if seen else [])
        for name, everything in counts.items():
            left = _rows(f"SELECT count(*) FROM {name}")[0][0]
            assert left == 0 if not seen else not everything or left < everything, name


def test_an_event_is_written_only_where_its_subject_is_seen(alice: Tenant, bob: Tenant) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        narrow([alice.organization.id])
        record_event(bob.endpoint, before="", code="forged")
    with transaction.atomic():
        narrow([alice.organization.id])
        record_event(alice.endpoint, before="", code="own")
    assert Endpoint.objects.filter(organization=alice.organization).get().events.filter(code="own").exists()


def test_usage_cannot_name_a_key_of_another_tenant(alice: Tenant, bob: Tenant) -> None:
    FakeNode().send_usage(sequenced([usage_event(alice, 1)]))
    event = UsageEvent.objects.get(organization=alice.organization)
    event.pk, event.event_id, event.seq, event.key = None, "evt_2", 2, bob.api_key
    with pytest.raises(IntegrityError, match="usage_key_tenant"), transaction.atomic():
        event.save(force_insert=True)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_every_policy_is_written_in_the_form_that_the_planner_estimates_well() -> None:
    """Also where an older form was made first: see `may_see` in common/constraints.py."""
    assert _rows("SELECT tablename FROM pg_policies WHERE qual NOT LIKE '%%CASE%%' AND qual LIKE '%%= ANY%%'") == []
