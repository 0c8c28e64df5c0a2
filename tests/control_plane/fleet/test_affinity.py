from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.affinity import Host, plan, score

NODES = [f"node_{index}" for index in range(8)]
PROJECTS = [f"prj_{index}" for index in range(400)]


def _hosts(*names: str, room: int = 1000) -> dict[str, Host]:
    return {name: Host(name, accepts=True, room=room) for name in names}


def _homes(hosts: dict[str, Host], wanted: int = 1) -> dict[str, tuple[str, ...]]:
    return {project: plan(project, wanted=wanted, held={}, hosts=hosts).add for project in PROJECTS}


def test_projects_spread_evenly() -> None:
    homes = _homes(_hosts(*NODES[:4]))
    counts = [sum(nodes == (name,) for nodes in homes.values()) for name in NODES[:4]]
    assert sum(counts) == 400
    assert min(counts) > 70


def test_a_joining_node_moves_only_the_projects_that_it_gets() -> None:
    before, after = _homes(_hosts(*NODES[:4])), _homes(_hosts(*NODES[:5]))
    moved = [project for project in PROJECTS if before[project] != after[project]]
    assert all(after[project] == (NODES[4],) for project in moved)
    assert 40 < len(moved) < 130  # a fifth of 400


def test_a_node_without_room_is_passed_over() -> None:
    hosts = _hosts(*NODES[:3])
    first = max(hosts, key=lambda name: score("prj_0", name))
    hosts[first].room = 0
    (home,) = plan("prj_0", wanted=1, held={}, hosts=hosts).add
    assert home != first
    assert plan("prj_0", wanted=1, held={first: True}, hosts=hosts) == plan("x", wanted=0, held={}, hosts=hosts)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[int, dict[str, bool], dict[str, Host]]:
    held = draw(st.dictionaries(st.sampled_from(NODES), st.booleans(), max_size=5))
    hosts = {
        name: Host(name, accepts=draw(st.booleans()), room=draw(st.integers(0, 2)))
        for name in draw(st.sets(st.sampled_from(NODES)))
    }
    return draw(st.integers(0, 4)), held, hosts


@given(worlds())
def test_somebody_serves_at_every_moment_and_the_plan_comes_to_rest(
    world: tuple[int, dict[str, bool], dict[str, Host]],
) -> None:
    """Whatever the nodes are, following the plans keeps the project served, and ends with `wanted` homes or all."""
    wanted, held, hosts = world
    for _ in range(10):
        served = sum(held.values())
        step = plan("prj", wanted=wanted, held=held, hosts=hosts)
        assert not set(step.add) & set(held)
        assert all(hosts[name].accepts and hosts[name].room > 0 for name in step.add)
        held = {name: is_served for name, is_served in held.items() if name not in step.leave}
        if wanted and served:
            assert any(held.values())
        if not step.add and not step.leave:
            break
        for name in step.add:
            hosts[name].room -= 1
        for name in step.leave:
            if name in hosts:
                hosts[name].room += 1
        held = {**held, **dict.fromkeys(step.add, True)}  # the new ones apply their snapshot
    if wanted == 0:
        assert not held
    able = [name for name, host in hosts.items() if host.can_hold(holds_it=name in held)]
    if wanted and all(held.values()) and able:
        assert len(held) == min(wanted, len(able)) or not set(held) <= set(able)
