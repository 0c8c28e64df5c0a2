from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Q

from control_plane.common.scoping import UnscopedQuery
from control_plane.endpoints.models import Endpoint
from control_plane.tenants.models import ApiKey, Project
from tests.control_plane.tenant import Tenant


@pytest.mark.parametrize(
    "run",
    [
        lambda rows: list(rows.all()),
        lambda rows: rows.count(),
        lambda rows: rows.exists(),
        lambda rows: rows.first(),
        lambda rows: rows.all().update(name="x"),
        lambda rows: rows.all().delete(),
        lambda rows: list(rows.filter(name="x")),
        lambda rows: list(rows.values("id")),
        lambda rows: list(rows.iterator()),
        lambda rows: list(rows.exclude(organization=None)),
    ],
)
def test_a_query_that_names_no_tenant_raises(db: None, run: Any) -> None:
    with pytest.raises(UnscopedQuery):
        run(ApiKey.objects)


def test_a_tenant_in_one_branch_of_an_or_is_not_enough(alice: Tenant) -> None:
    with pytest.raises(UnscopedQuery):
        list(Endpoint.objects.filter(Q(project=alice.project) | Q(name="assistant")))


def test_a_query_by_organization_project_or_parent_runs(alice: Tenant, bob: Tenant) -> None:
    assert list(ApiKey.objects.filter(project=alice.project)) == [alice.api_key]
    assert list(ApiKey.objects.filter(organization__in=[bob.organization.id])) == [bob.api_key]
    assert list(alice.project.api_keys.all()) == [alice.api_key]


def test_the_systems_own_work_says_that_it_crosses_tenants(alice: Tenant, bob: Tenant) -> None:
    assert set(Project.objects.unscoped()) == {alice.project, bob.project}
