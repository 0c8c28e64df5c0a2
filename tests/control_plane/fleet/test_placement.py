"""Projects on three nodes: who has what, and that nobody is ever without."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from control_plane.endpoints.services import create_endpoint
from control_plane.fleet.models import Node
from control_plane.fleet.placement import place_all
from control_plane.fleet.reconciler import reconcile
from control_plane.tenants.models import Placement, Project
from control_plane.tenants.placements import move
from control_plane.tenants.services import create_project
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import Tenant, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def projects(alice: Tenant) -> set[str]:
    """Enough of them that every node gets some: it gets none once in 100,000 times."""
    for number in range(29):
        project = create_project(alice.organization, name=f"project {number}", actor="test")
        create_endpoint(project, name="assistant", model=alice.endpoint.model, actor="test")
    return set(Project.objects.filter(organization=alice.organization).values_list("id", flat=True))


def _nodes(count: int = 3) -> list[FakeNode]:
    nodes = [FakeNode(f"node-{number}") for number in range(count)]
    _settle(nodes)
    return nodes


def _settle(nodes: list[FakeNode]) -> None:
    """Everybody applies and reports until nothing moves."""
    for _ in range(6):
        for node in nodes:
            assert node.heartbeat().status_code == 204
        Placement.objects.unscoped().exclude(leaving_since=None).update(leaving_since=timezone.now() - timedelta(1))
        if not place_all():
            return
    raise AssertionError("the placement does not come to rest")


def _silence(node: FakeNode) -> None:
    Node.objects.filter(pk=node.id).update(last_seen_at=timezone.now() - timedelta(minutes=1))


def _held(node: FakeNode) -> set[str]:
    return {project.project_id for project in node.read_snapshot().projects}


def _partition(nodes: list[FakeNode], wanted: set[str]) -> bool:
    """Each project is on exactly one of the nodes."""
    held = [_held(node) for node in nodes]
    return sorted(project for some in held for project in some) == sorted(wanted)


def test_each_project_lives_on_one_node(projects: set[str]) -> None:
    nodes = _nodes()
    assert _partition(nodes, projects)
    assert all(_held(node) for node in nodes)
    for node in nodes:
        found = node.read_snapshot()
        assert {key.project_id for key in found.keys} <= {project.project_id for project in found.projects}


def test_only_the_nodes_that_hold_a_project_learn_of_its_change(alice: Tenant, projects: set[str]) -> None:
    nodes = _nodes()
    before = [node.snapshot().headers["ETag"] for node in nodes]
    alice.api.post("/api/v1/api-keys", {"project_id": alice.project.id, "name": "second"})
    answers = [node.snapshot(If_None_Match=etag).status_code for node, etag in zip(nodes, before, strict=True)]
    assert sorted(answers) == [200, 304, 304]


def test_a_joining_node_takes_over_without_a_moment_in_which_nobody_serves(projects: set[str]) -> None:
    first, second = nodes = _nodes(2)
    third = FakeNode("node-3")
    place_all()
    moving = _held(third)
    assert moving and all(project in _held(first) | _held(second) for project in moving)
    assert third.heartbeat().status_code == 204
    place_all()  # the others are now left; they still serve until every route has forgotten them
    assert moving <= _held(first) | _held(second)
    assert Placement.objects.unscoped().exclude(leaving_since=None).count() == len(moving)
    _settle([*nodes, third])
    assert _partition([*nodes, third], projects)


def test_a_lost_nodes_projects_are_placed_elsewhere_and_it_comes_back_empty(projects: set[str]) -> None:
    lost, *others = nodes = _nodes()
    had = _held(lost)
    _silence(lost)
    reconcile()
    assert had <= _held(others[0]) | _held(others[1])
    _settle(others)
    assert _held(lost) == set()
    assert lost.heartbeat().status_code == 204
    _settle(nodes)
    assert _partition(nodes, projects)
    assert _held(lost) == had


def test_what_nobody_else_can_take_stays_with_a_lost_node(projects: set[str]) -> None:
    (node,) = _nodes(1)
    _silence(node)
    reconcile()
    assert Node.objects.get(pk=node.id).state == "lost"
    assert len(_held(node)) == 30


def test_nothing_is_moved_while_most_nodes_are_silent_at_once(projects: set[str]) -> None:
    nodes = _nodes(5)
    held = [_held(node) for node in nodes]
    for node in nodes:
        _silence(node)
    reconcile()
    nodes[0].heartbeat()
    reconcile()
    assert [_held(node) for node in nodes] == held
    Node.objects.filter(state="lost").update(state_changed_at=timezone.now() - timedelta(minutes=6))
    reconcile()
    assert len(_held(nodes[0])) == 30


def test_a_node_takes_no_more_projects_than_it_has_room_for(projects: set[str]) -> None:
    FakeNode("node-0")
    Node.objects.update(max_projects=5)
    Placement.objects.unscoped().all().delete()
    place_all()
    assert Placement.objects.unscoped().count() == 5


def test_a_project_that_is_stopped_leaves_its_node(alice: Tenant) -> None:
    (node,) = _nodes(1)
    alice.api.post(f"/api/v1/endpoints/{alice.endpoint.id}/stop")
    for _ in range(3):
        node.heartbeat()
        reconcile()
    assert _held(node) == set()


def test_a_node_with_another_model_starts_empty(alice: Tenant) -> None:
    (node,) = _nodes(1)
    node.heartbeat(model="other")
    assert _held(node) == set()


@pytest.mark.django_db(transaction=True)
def test_a_change_and_a_move_at_the_same_time_both_reach_the_node() -> None:
    """A key that is made while its project moves is in the snapshot of the generation that the node ends with."""
    tenant = make_tenant("alice")
    nodes = [FakeNode(f"node-{number}") for number in range(2)]
    barrier = threading.Barrier(2)
    errors: list[Any] = []

    def run(action: Any) -> None:
        try:
            barrier.wait(10)
            for number in range(10):
                action(number)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    def change(number: int) -> None:
        body = {"project_id": tenant.project.id, "name": f"key {number}"}
        assert tenant.api.post("/api/v1/api-keys", body).status_code == 201

    def travel(number: int) -> None:
        pairs = [(tenant.project.id, node.id) for node in nodes]
        with transaction.atomic():
            move(withdraw=pairs)
        with transaction.atomic():
            move(add=[pairs[number % 2]])

    threads = [threading.Thread(target=run, args=[action]) for action in (change, travel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    (holder,) = Placement.objects.filter(project=tenant.project)
    node = next(node for node in nodes if node.id == holder.node_id)
    assert len(node.read_snapshot().keys) == 11
    assert holder.generation <= node.read_snapshot().generation
