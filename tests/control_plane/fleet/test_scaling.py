"""How many nodes an endpoint wants: the rule as properties, and the whole way from heartbeats to placements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from control_plane.endpoints.models import MAX_REPLICAS, Endpoint
from control_plane.fleet import scaling
from control_plane.fleet.reconciler import reconcile
from control_plane.fleet.scaling import Load, Scale, next_scale, rescale
from control_plane.tenants.models import Placement
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import MODEL, Tenant

QUIET_TIME = timedelta(seconds=300)
START = datetime(2026, 1, 1, tzinfo=UTC)

loads = st.builds(Load, in_flight=st.integers(0, 400), slots=st.floats(0.5, 64))
bounds = st.tuples(st.integers(1, MAX_REPLICAS), st.integers(1, MAX_REPLICAS)).map(sorted)


def _after(scale: Scale, load: Load, seconds: float, least: int, most: int, live: int = 99) -> Scale:
    now = START + timedelta(seconds=seconds)
    return next_scale(scale, load, least=least, most=most, live=live, now=now, quiet_time=QUIET_TIME)


@given(bounds, st.integers(1, 99), st.lists(st.tuples(loads, st.floats(0, 400), st.integers(0, 20)), max_size=60))
def test_whatever_is_reported_it_stays_between_least_and_most_and_grows_no_further_than_nodes_are_live(
    bound: list[int], start: int, reports: list[tuple[Load, float, int]]
) -> None:
    least, most = bound
    scale, now = Scale(start), 0.0
    for load, seconds, live in reports:
        now += seconds
        before, scale = scale, _after(scale, load, now, least, most, live)
        assert least <= scale.replicas <= most
        if scale.replicas > max(before.replicas, least):
            assert scale.replicas <= live


@given(bounds, loads, st.integers(1, MAX_REPLICAS), st.integers(1, 20))
def test_under_a_load_that_stays_it_goes_one_way_and_comes_to_rest(
    bound: list[int], load: Load, start: int, live: int
) -> None:
    least, most = bound
    scale = Scale(min(max(start, least), most))
    seen = [scale.replicas]
    for step in range(20):
        scale = _after(scale, load, step * 301.0, least, most, live)
        seen.append(scale.replicas)
    assert seen in (sorted(seen), sorted(seen, reverse=True)), "never up and down"
    assert seen[-1] == seen[-2] == seen[-3]


@given(
    st.lists(st.tuples(loads, st.floats(0, 200)), min_size=1, max_size=80),
)
def test_it_gives_up_one_replica_at_a_time_each_after_a_whole_quiet_time(reports: list[tuple[Load, float]]) -> None:
    scale, now, changed_at = Scale(1), 0.0, -1e9
    for load, seconds in reports:
        now += seconds
        before, scale = scale, _after(scale, load, now, 1, MAX_REPLICAS)
        if scale.replicas < before.replicas:
            assert scale.replicas == before.replicas - 1
            assert now - changed_at >= QUIET_TIME.total_seconds()
        if scale.replicas != before.replicas:
            changed_at = now


def test_a_burst_is_followed_at_once_and_one_busy_moment_starts_the_quiet_time_anew() -> None:
    eight = 8.0
    up = _after(Scale(1), Load(30, eight), 0, 1, 8)
    assert up == Scale(5)
    quiet = _after(up, Load(0, eight), 10, 1, 8)
    assert quiet == Scale(5, START + timedelta(seconds=10))
    assert _after(quiet, Load(0, eight), 309, 1, 8).replicas == 5
    busy = _after(quiet, Load(17, eight), 309, 1, 8)  # more than half of what four nodes run at once
    assert busy == Scale(5)
    assert _after(quiet, Load(16, eight), 310, 1, 8).replicas == 4


# ------------------------------------------------------------------------------------------------ with the database


@pytest.fixture
def nodes(alice: Tenant) -> list[FakeNode]:
    found = [FakeNode(f"node-{number}") for number in range(3)]
    answer = alice.api.patch(_path(alice), {"max_replicas": 9}, If_Match="*")
    assert answer.status_code == 200
    _sweep(alice, found, 0)
    return found


def _path(tenant: Tenant) -> str:
    return f"/api/v1/endpoints/{tenant.endpoint.id}"


def _sweep(tenant: Tenant, nodes: list[FakeNode], in_flight: int, **changes: Any) -> dict[str, Any]:
    """Each node that has the project reports its share of the requests in flight, until all have what they are to have
    and routes have forgotten those that left; what the endpoint is then."""
    for _ in range(5):
        holding = [node for node in nodes if node.read_snapshot().projects]
        for node in nodes:
            share = {tenant.project.id: in_flight // len(holding)} if node in holding else {}
            assert node.heartbeat(slots=4, in_flight=share, **changes).status_code == 204
        reconcile()
        Placement.objects.unscoped().exclude(leaving_since=None).update(leaving_since=START)
    return dict(tenant.api.get(_path(tenant)).json())


@pytest.mark.django_db
def test_an_endpoint_grows_with_its_load_as_far_as_there_are_nodes_and_shrinks_when_it_is_quiet(
    alice: Tenant, nodes: list[FakeNode]
) -> None:
    assert _shown(_sweep(alice, nodes, 0)) == (1, 1)
    assert _shown(_sweep(alice, nodes, 4)) == (2, 2)
    assert _shown(_sweep(alice, nodes, 60)) == (3, 3), "as many as are live"
    assert _shown(_sweep(alice, nodes, 0)) == (3, 3), "it is not quiet for long enough"
    for left in (2, 1, 1):
        past = datetime.now(UTC) - timedelta(seconds=settings.SLIPSTREAM_SCALE_DOWN_SECONDS + 1)
        Endpoint.objects.filter(project=alice.project).update(quiet_since=past)
        assert _sweep(alice, nodes, 0)["desired_replicas"] == left
        assert Placement.objects.filter(project=alice.project, leaving_since=None).count() == left
    events = alice.api.get(f"{_path(alice)}/events").json()["data"]
    scaled = [event["message"] for event in reversed(events) if event["code"] == "scaled"]
    assert [message.split(" replicas")[0] for message in scaled] == ["1 → 2", "2 → 3", "3 → 2", "2 → 1"]
    assert scaled[0] == "1 → 2 replicas: 4 requests in flight, 4 run at once on a node."


def _shown(endpoint: dict[str, Any]) -> tuple[int, int]:
    return endpoint["desired_replicas"], endpoint["ready_replicas"]


@pytest.mark.django_db
def test_what_another_project_has_in_flight_changes_nothing(alice: Tenant, bob: Tenant, nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.heartbeat(slots=4, in_flight={bob.project.id: 100, "prj_unknown": 7})
    reconcile()
    assert alice.api.get(_path(alice)).json()["desired_replicas"] == 1


@pytest.mark.django_db
def test_the_number_is_left_alone_while_nobody_serves(alice: Tenant, nodes: list[FakeNode]) -> None:
    assert _sweep(alice, nodes, 60)["desired_replicas"] == 3
    shown = _sweep(alice, nodes, 0, state="not_ready")
    assert _shown(shown) == (3, 0)
    assert Endpoint.objects.get(project=alice.project).quiet_since is None


@pytest.mark.django_db
def test_new_bounds_hold_at_once_and_a_stop_forgets_the_load(alice: Tenant, nodes: list[FakeNode]) -> None:
    assert _sweep(alice, nodes, 60)["desired_replicas"] == 3
    narrowed = alice.api.patch(_path(alice), {"max_replicas": 2}, If_Match="*").json()
    assert narrowed["desired_replicas"] == 2
    raised = alice.api.patch(_path(alice), {"min_replicas": 4, "max_replicas": 4}, If_Match="*").json()
    assert raised["desired_replicas"] == 4
    alice.api.patch(_path(alice), {"min_replicas": 1}, If_Match="*")
    stopped = alice.api.post(f"{_path(alice)}/stop").json()
    assert stopped["desired_replicas"] == 1
    reconcile()
    assert alice.api.get(_path(alice)).json()["ready_replicas"] == 0


@pytest.mark.django_db
def test_a_change_between_the_look_and_the_write_wins(alice: Tenant, nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.heartbeat(slots=4, in_flight={alice.project.id: 60})
    stale = Endpoint.objects.get(project=alice.project)
    alice.api.patch(_path(alice), {"max_replicas": 2}, If_Match="*")
    assert scaling._write(stale, Scale(1), Scale(9), Load(60, 4)) == 0
    assert rescale() == 1
    assert Endpoint.objects.get(project=alice.project).desired_replicas == 2


@pytest.mark.django_db
def test_two_endpoints_of_a_project_share_its_nodes_and_each_keeps_its_bounds(
    alice: Tenant, nodes: list[FakeNode]
) -> None:
    body = {"project_id": alice.project.id, "name": "second", "model": MODEL, "min_replicas": 2, "max_replicas": 2}
    second = alice.api.post("/api/v1/endpoints", body).json()
    shown = _sweep(alice, nodes, 60)
    assert shown["desired_replicas"] == 3
    assert alice.api.get(f"/api/v1/endpoints/{second['id']}").json()["desired_replicas"] == 2


@pytest.mark.django_db
@pytest.mark.parametrize("in_flight", [{"prj_x": -1}, {"prj_x": 2**31}, {"prj_x": "many"}, [1]])
def test_a_report_that_makes_no_sense_is_refused(alice: Tenant, in_flight: Any) -> None:
    assert FakeNode().heartbeat(in_flight=in_flight).status_code == 400
