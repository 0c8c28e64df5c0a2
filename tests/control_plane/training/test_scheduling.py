import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.speculators.models import Speculator
from control_plane.speculators.policy import SpeculatorPolicy, set_policy
from control_plane.speculators.services import set_frozen
from control_plane.training.config import training_config
from control_plane.training.estimate import estimate
from control_plane.training.fairness import Quotas
from control_plane.training.lease import leave_or_keep
from control_plane.training.models import RunState, TrafficSegment
from control_plane.training.scheduling import schedule_runs
from control_plane.training.services import start_run
from tests.control_plane.learning import ACTOR, add_window, make_tenant, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    return make_tenant()


def add_segment(tenant, records=48):
    now = timezone.now()
    return TrafficSegment.objects.create(
        organization=tenant.project.organization,
        project=tenant.project,
        key=f"projects/{tenant.project.id}/traffic/{now:%Y-%m-%d}/{uuid.uuid4().hex}.jsonl.zst",
        size_bytes=100,
        records=records,
        tokens=10 * records,
        first_at=now,
        last_at=now,
    )


def finish(run, state, **values):
    run.refresh_from_db()
    run.state = {"succeeded": "publishing"}.get(state, "running")
    run.lease_token = uuid.uuid4()
    run.save()
    return leave_or_keep(run, RunState(state), **values)


def test_enough_new_traffic_queues_one_run(tenant):
    tenant.consent()
    add_segment(tenant)
    assert [run.trigger for run in schedule_runs(training_config())] == ["traffic"]
    assert schedule_runs(training_config()) == []


def test_too_little_traffic_or_no_consent_queues_nothing(tenant):
    add_segment(tenant)
    assert schedule_runs(training_config()) == []
    tenant.consent()
    TrafficSegment.objects.filter(project=tenant.project).update(records=47)
    assert schedule_runs(training_config()) == []


def test_traffic_that_a_run_has_seen_is_not_new(tenant):
    tenant.consent()
    segment = add_segment(tenant)
    (run,) = schedule_runs(training_config())
    finish(run, "succeeded", last_segment_id=segment.id)
    assert schedule_runs(training_config()) == []
    add_segment(tenant)
    assert len(schedule_runs(training_config())) == 1


def test_fruitless_runs_ask_for_more_traffic_each_time(tenant):
    tenant.consent()
    needed = []
    for _ in range(3):
        segments = [add_segment(tenant)]
        while not (runs := schedule_runs(training_config())):
            segments.append(add_segment(tenant))
        needed.append(len(segments))
        finish(runs[0], "rejected", last_segment_id=segments[-1].id)
    assert needed == [1, 2, 4]


def test_the_clock_trains_on_little_new_traffic_and_never_on_none(tenant):
    tenant.consent()
    set_policy(tenant.speculator, SpeculatorPolicy(every_hours=2), actor=ACTOR)
    Speculator.objects.filter(project=tenant.project).update(created_at=timezone.now() - timedelta(hours=3))
    assert schedule_runs(training_config()) == []
    segment = add_segment(tenant, records=1)
    (run,) = schedule_runs(training_config())
    assert run.trigger == "schedule"
    finish(run, "succeeded", last_segment_id=segment.id)
    add_segment(tenant, records=1)
    assert schedule_runs(training_config()) == []  # two hours have not passed
    type(run).objects.filter(project=tenant.project).update(created_at=timezone.now() - timedelta(hours=2))
    assert [run.trigger for run in schedule_runs(training_config())] == ["schedule"]


def test_a_project_that_used_up_its_day_is_refused_and_not_scheduled(tenant):
    tenant.consent()
    config = training_config()
    segment = add_segment(tenant)
    (run,) = schedule_runs(config)
    finish(run, "succeeded", last_segment_id=segment.id, training_milliseconds=1_000_001)
    add_segment(tenant)
    config = replace(config, quotas=replace(config.quotas, project_seconds_per_day=1000))
    assert schedule_runs(config) == []
    with pytest.raises(Conflict) as error:
        start_run(tenant.speculator, trigger="manual", actor=ACTOR, quotas=config.quotas)
    assert error.value.code == "training_quota"
    config = replace(config, quotas=Quotas(project_runs_per_day=1))
    assert schedule_runs(config) == []
    type(run).objects.filter(project=tenant.project).update(created_at=timezone.now() - timedelta(hours=25))
    assert len(schedule_runs(config)) == 1


def test_an_estimate_says_what_a_run_takes_and_why_it_may_not_start(tenant):
    config = replace(training_config(), price_per_hour=3_600_001)
    assert "consent" in estimate(tenant.speculator, config).refusal
    tenant.consent()
    segment = add_segment(tenant)
    before = estimate(tenant.speculator, config)
    assert (before.records, before.new_records, before.measured_runs) == (48, 48, 0)
    assert before.seconds == config.max_seconds and before.refusal is None
    (run,) = schedule_runs(config)
    assert "not finished" in estimate(tenant.speculator, config).refusal
    finish(run, "succeeded", last_segment_id=segment.id, training_milliseconds=2500, attempts=1)
    after = estimate(tenant.speculator, config)
    assert (after.new_records, after.seconds, after.measured_runs, after.seconds_today) == (0, 3, 1, 3)
    assert after.cost_microdollars == 3001 and after.runs_today == 1  # 3 s, rounded up to a whole micro-dollar


def test_a_frozen_speculator_is_not_trained(tenant):
    tenant.consent()
    add_segment(tenant)
    set_frozen(tenant.speculator, True, actor=ACTOR)
    assert schedule_runs(training_config()) == []


def test_whoever_waited_longest_comes_first(tenant):
    other = make_tenant("globex")
    tenant.consent()
    add_segment(tenant)
    (first,) = schedule_runs(training_config())
    finish(first, "succeeded", last_segment_id=0)
    other.consent()
    add_segment(other)
    order = [run.project_id for run in schedule_runs(training_config())]
    assert order == [other.project.id, tenant.project.id]


def test_a_consenting_project_gets_a_speculator_for_each_model_it_serves(tenant):
    Speculator.objects.filter(project=tenant.project).delete()
    tenant.consent()
    schedule_runs(training_config())
    assert Speculator.objects.filter(project=tenant.project).values_list("model_id", flat=True).get() == "tiny"


def test_a_drift_needs_less_traffic_and_no_patience(tenant):
    tenant.consent()
    add_segment(tenant, records=16)
    assert schedule_runs(training_config()) == []
    add_window(tenant, "adaptive", make_version(tenant, state="active"), steps=10, accepted=5, relearning=True)
    assert [run.trigger for run in schedule_runs(training_config())] == ["drift"]
