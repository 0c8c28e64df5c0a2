"""Three nodes on one machine: real processes, the real control plane over HTTP, a load balancer's view of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.endpoints.services import create_endpoint
from control_plane.fleet.operations import set_desired
from control_plane.tenants.models import Placement
from control_plane.tenants.services import create_api_key, create_project
from tests.contract.fleet import SPEECH, Fleet, Stream
from tests.control_plane.tenant import Tenant, catalogue_model, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = ("--snapshot-interval-seconds", "0.3")


@pytest.fixture
def fleet(live_server: Any, tmp_path: Path, settings: Any) -> Iterator[Fleet]:
    settings.SLIPSTREAM_NODE_LOST_SECONDS = 8
    settings.SLIPSTREAM_ROUTE_SECONDS = 0.5
    running = Fleet(live_server.url, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def alice() -> Tenant:
    return make_tenant("alice")


def _projects(tenant: Tenant, name: str, number: int) -> dict[str, str]:
    """API key by project."""
    found = {}
    for index in range(number):
        project = create_project(tenant.organization, name=f"{name} {index}", actor=tenant.user.id)
        create_endpoint(project, name="assistant", model=catalogue_model(), actor=tenant.user.id)
        found[project.id] = create_api_key(project, name="key", actor=tenant.user.id)[1]
    return found


def test_placement_cordon_and_a_drain_without_a_dropped_request(fleet: Fleet, alice: Tenant) -> None:
    keys = _projects(alice, "early", 8) | {alice.project.id: alice.api_key_text}
    small, *others = nodes = [
        fleet.start("node-1", *QUICK, "--max-projects", "2"),
        fleet.start("node-2", *QUICK),
        fleet.start("node-3", *QUICK),
    ]
    fleet.until_ready(*nodes)
    fleet.until(lambda: fleet.is_settled(set(keys)), "every project is placed and served")
    assert len(small.held) <= 2, "no more than it has room for"
    assert sum(len(node.held) for node in nodes) == len(keys)
    for project, key in keys.items():
        home = fleet.route(project)
        assert home is not None and home.ask(key).json()["choices"][0]["message"]["content"] == "hi"
        elsewhere = next(node for node in nodes if node is not home)
        assert elsewhere.ask(key).status_code == 401, "a node knows no keys of projects that it does not hold"

    # Cordoned, a node keeps what it has and gets nothing new.
    cordoned = max(others, key=lambda node: len(node.held))
    set_desired(cordoned.row, "cordoned", actor="test")
    before = cordoned.held
    keys |= _projects(alice, "late", 4)
    fleet.until(lambda: fleet.is_settled(set(keys)), "the new projects are placed")
    assert cordoned.held == before
    assert cordoned.ask(keys[next(iter(before))]).status_code == 200
    set_desired(cordoned.row, "serving", actor="test")

    # Drained, its streams run to their ends while requests go on, each to where the routes say at that moment.
    fleet.until(lambda: fleet.is_settled(set(keys)), "settled again")
    leaving = max(others, key=lambda node: len(node.held))
    project = next(iter(leaving.held))
    streams = [Stream(leaving, keys[project]) for _ in range(3)]
    assert all(stream.first.wait(10) for stream in streams)
    set_desired(leaving.row, "drained", actor="test")
    served: list[str] = []

    def drained() -> bool:
        home = fleet.route(project)
        if home is not None:
            answer = home.ask(keys[project])
            assert answer.status_code == 200, (home.name, answer.text)
            served.append(home.name)
        return leaving.row.state == "drained"

    fleet.until(drained, "the node is empty and has sent everything")
    drained_at = time.monotonic()
    for stream in streams:
        stream.end()
        assert (stream.error, stream.text) == ("", SPEECH)
        assert stream.ended_at < drained_at, "it was not drained before its last stream had ended"
    assert leaving.name in served and served[-1] != leaving.name, "served there, then elsewhere, never nowhere"
    assert leaving.held == set() and fleet.is_settled(set(keys))
    assert httpx.get(f"{leaving.url}/readyz").status_code == 503


def test_a_killed_node_is_lost_and_its_projects_served_elsewhere_and_an_old_boot_is_fenced(
    fleet: Fleet, alice: Tenant, tmp_path: Path
) -> None:
    keys = _projects(alice, "early", 8) | {alice.project.id: alice.api_key_text}
    nodes = [fleet.start(f"node-{number}", *QUICK) for number in (1, 2, 3)]
    fleet.until_ready(*nodes)
    fleet.until(lambda: fleet.is_settled(set(keys)), "every project is placed and served")
    killed = max(nodes, key=lambda node: len(node.held))
    had = killed.held
    killed.kill()
    fleet.until(lambda: killed.row.state == "lost", "the silence is noticed")
    fleet.until(lambda: fleet.is_settled(set(keys)), "its projects are placed elsewhere")
    for project in had:
        home = fleet.route(project)
        assert home is not None and home is not killed and home.ask(keys[project]).status_code == 200

    # It comes back as another process of the same node, with the projects that it is the home of.
    second = fleet.start("node-again", *QUICK, state=killed.state)
    fleet.until(lambda: killed.row.state == "ready", "it is one of three again")
    fleet.until(lambda: killed.held == had, "they are where they were before: what it learned is still there")
    boots = set(killed.row.events.values_list("code", flat=True))
    assert "superseded_boot" in boots

    # A third process with the same identity takes over: the second one serves nobody any more.
    twin = tmp_path / "twin"
    twin.mkdir()
    shutil.copy(killed.state / "identity.json", twin)
    fleet.start("node-twin", *QUICK, state=twin)
    fleet.until(lambda: httpx.get(f"{second.url}/readyz").status_code == 503, "the boot before is fenced")
    key = keys[next(iter(had))]
    assert second.ask(key).status_code == 503
    assert Placement.objects.unscoped().filter(project__in=keys).count() == len(keys)


def test_an_expired_key_is_refused_at_once_and_a_revoked_one_within_ten_seconds(
    fleet: Fleet, alice: Tenant, record_property: Any
) -> None:
    """With a node's own intervals: it polls its snapshot every two seconds."""
    node = fleet.start("node-1")
    fleet.until_ready(node)
    ends = datetime.now(UTC) + timedelta(seconds=8)
    _, short = create_api_key(alice.project, name="short", actor="test", expires_at=ends)
    fleet.until(lambda: node.ask(short).status_code == 200, "the key is known", seconds=7)
    time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 0.01)
    assert node.ask(short).status_code == 401, "by its own clock: no snapshot tells it"

    assert node.ask(alice.api_key_text).status_code == 200
    answer = alice.api.delete(f"/api/v1/api-keys/{alice.api_key.id}")
    assert answer.json()["revoked_at"] is not None
    seconds = fleet.until(lambda: node.ask(alice.api_key_text).status_code == 401, "the key is revoked", seconds=10)
    record_property("revoked_after_seconds", seconds)
    print(f"a revoked key was refused after {seconds:.1f} s")
