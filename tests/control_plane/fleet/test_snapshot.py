from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from control_plane.endpoints.models import CatalogueModel
from control_plane.endpoints.services import create_endpoint
from control_plane.fleet.reconciler import reconcile
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import MODEL, Tenant, make_tenant


def test_a_snapshot_holds_the_projects_that_are_placed_on_the_node(alice: Tenant, bob: Tenant) -> None:
    other = CatalogueModel.objects.create(id="other", name="Other", folder="other", context_length=8)
    create_endpoint(bob.project, name="elsewhere", model=other, actor="test")
    found = FakeNode().read_snapshot()
    assert {endpoint.endpoint_id for endpoint in found.endpoints} == {alice.endpoint.id, bob.endpoint.id}
    assert {project.project_id for project in found.projects} == {alice.project.id, bob.project.id}
    assert {(key.key_id, key.digest) for key in found.keys} == {
        (tenant.api_key.id, tenant.api_key.digest) for tenant in (alice, bob)
    }
    assert len({project.cache_salt for project in found.projects}) == 2
    assert FakeNode("empty", model="none").read_snapshot().endpoints == ()


def test_a_snapshot_never_holds_a_key(alice: Tenant) -> None:
    assert alice.api_key_text.encode() not in FakeNode().snapshot().content


def test_an_unchanged_snapshot_is_a_304_for_one_query(alice: Tenant) -> None:
    node = FakeNode()
    etag = node.snapshot().headers["ETag"]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = node.snapshot(If_None_Match=etag)
    selects = [query["sql"] for query in queries if "SELECT" in query["sql"]]
    assert (answer.status_code, answer.content, len(selects)) == (304, b"", 1)


CHANGES: dict[str, Any] = {
    "a new key": lambda t: t.api.post("/api/v1/api-keys", {"project_id": t.project.id, "name": "x"}),
    "a revoked key": lambda t: t.api.delete(f"/api/v1/api-keys/{t.api_key.id}"),
    "a rotated key": lambda t: t.api.post(f"/api/v1/api-keys/{t.api_key.id}/rotate"),
    "new limits": lambda t: t.api.patch(f"/api/v1/projects/{t.project.id}", {"requests_per_minute": 1}),
    "a new endpoint": lambda t: t.api.post(
        "/api/v1/endpoints", {"project_id": t.project.id, "name": "x", "model": MODEL}
    ),
    "a new policy": lambda t: t.api.patch(f"/api/v1/endpoints/{t.endpoint.id}", {"max_lookahead": 1}, If_Match="*"),
    "a stop": lambda t: t.api.post(f"/api/v1/endpoints/{t.endpoint.id}/stop"),
    "a deletion": lambda t: t.api.delete(f"/api/v1/endpoints/{t.endpoint.id}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_that_nodes_must_know_makes_a_new_generation(alice: Tenant, change: str) -> None:
    node = FakeNode()
    before = node.snapshot()
    answer = CHANGES[change](alice)
    assert answer.status_code < 300, answer.content
    after = node.snapshot(If_None_Match=before.headers["ETag"])
    assert after.status_code == 200
    assert after.json()["generation"] > before.json()["generation"]
    volatile = {"generation": 0, "issued_at": ""}
    assert after.json() | volatile != before.json() | volatile


def test_a_refused_change_makes_none(alice: Tenant) -> None:
    node = FakeNode()
    etag = node.snapshot().headers["ETag"]
    alice.api.patch(f"/api/v1/endpoints/{alice.endpoint.id}", {"max_lookahead": 99}, If_Match="*")
    assert node.snapshot(If_None_Match=etag).status_code == 304


def test_building_costs_the_same_number_of_queries_for_any_number_of_projects(alice: Tenant) -> None:
    node = FakeNode()

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert node.snapshot().status_code == 200
        return len(queries)

    before = count()
    for number in range(5):
        make_tenant(f"tenant{number}")
    reconcile()
    assert len(node.read_snapshot().projects) == 6
    assert count() == before
