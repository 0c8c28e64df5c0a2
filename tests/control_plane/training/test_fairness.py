"""Round robin over projects: whatever is queued, nobody waits for more than one run of each other project."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import close_old_connections, connection
from hypothesis import given
from hypothesis import strategies as st

from control_plane.training.fairness import Quotas, Served, Waiting, next_run
from control_plane.training.lease import claim_next
from control_plane.training.losses import MAX_POINTS, LossSeries
from control_plane.training.models import TrainingRun
from control_plane.training.services import start_run
from tests.control_plane.learning import make_tenant

START = datetime(2030, 1, 1, tzinfo=UTC)
QUOTAS = Quotas(project_running=1, organization_running=100)


def at(second):
    return START + timedelta(seconds=second)


# What happens in one tick: a project (0 to 5) queues a run more, or a worker becomes free.
events = st.lists(st.one_of(st.integers(0, 5), st.just("worker")), max_size=60)


@given(events, st.integers(min_value=0, max_value=5))
def test_between_two_turns_of_a_waiting_project_each_other_one_has_at_most_one(happenings, watched):
    waiting, last, others = [], {}, Counter()
    for tick, event in enumerate([*happenings, watched, *["worker"] * 70]):
        if event != "worker":
            waiting.append(Waiting(f"run{tick}", f"p{event}", f"o{event}", at(tick)))
            continue
        chosen = next_run(waiting, Served(last_by_project=last), QUOTAS)
        if chosen is None:
            assert not waiting
            continue
        waiting.remove(chosen)
        last[chosen.project_id] = at(tick)
        mine = [run for run in waiting if run.project_id == f"p{watched}"]
        if chosen.project_id == f"p{watched}" or not mine:
            others.clear()
        else:
            others[chosen.project_id] += 1
            assert max(others.values()) <= 1
    assert not waiting


def test_a_newcomer_is_behind_who_waits_and_before_who_was_just_served():
    backlog = [Waiting(f"old{n}", "p1", "o1", at(n)) for n in range(100)]
    newcomer = Waiting("new", "p2", "o2", at(200))
    assert next_run([*backlog, newcomer], Served(last_by_project={"p1": at(300)}), QUOTAS) == newcomer


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        (Served({"p1": 1}, {"o1": 1}), "b"),
        (Served({"p1": 1, "p2": 1}, {"o1": 2}), None),
        (Served({}, {"o1": 3}), None),
    ],
)
def test_a_project_or_organization_at_its_quota_waits(served, expected):
    queue = [Waiting("a", "p1", "o1", at(0)), Waiting("b", "p2", "o1", at(1))]
    chosen = next_run(queue, served, Quotas(project_running=1, organization_running=3))
    assert (chosen and chosen.run_id) == expected


@pytest.mark.django_db(transaction=True)
def test_workers_that_ask_at_once_get_different_runs_and_keep_the_quotas():
    tenants = [make_tenant(f"t{n}") for n in range(3)]
    for tenant in tenants:
        tenant.consent()
        start_run(tenant.speculator, trigger="manual", actor="x")
    leases = []

    def work():
        try:
            leases.append(claim_next(seconds=60, quotas=QUOTAS))
        finally:
            connection.close()
            close_old_connections()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [lease.run_id for lease in leases if lease is not None]
    assert len(leases) == 5 and len(taken) == len(set(taken)) == 3
    assert TrainingRun.objects.unscoped().filter(state="admitted").count() == 3


@given(st.lists(st.floats(min_value=0, max_value=10), max_size=1000))
def test_a_series_is_bounded_in_order_and_begins_with_the_first_loss(losses):
    series = LossSeries()
    for second, loss in enumerate(losses):
        series.add(second, loss)
    assert len(series.points) < MAX_POINTS
    assert series.points == sorted(series.points, key=lambda point: point[0])
    if losses:
        assert series.points[0] == [0, losses[0]]


def test_what_is_no_number_or_was_reported_already_is_no_point():
    series = LossSeries()
    assert [series.add(n, loss) for n, loss in enumerate([None, 2.0, 2.0, float("nan"), 1.5])] == [
        False, True, False, False, True,
    ]  # fmt: skip
