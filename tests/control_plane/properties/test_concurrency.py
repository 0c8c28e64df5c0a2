"""Several writers at once, each in a thread with a connection of its own: whoever comes first, the invariants hold.

Every race is run a few times; a deadlock, a lost update or a second winner fails it. Nothing is mocked: threads meet
at a barrier and PostgreSQL's locks decide.
"""

# ruff: noqa: B023  (`together` has waited for all writers before a loop's variables change)
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from control_plane.billing import rollups
from control_plane.billing.ingestion import ingest
from control_plane.billing.models import UsageEvent
from control_plane.common.errors import ServiceError
from control_plane.common.ids import new_id
from control_plane.endpoints import deployments, rollouts
from control_plane.endpoints import services as endpoints
from control_plane.endpoints.models import ROLLOUT_ENDED, WHOLE, Deployment, Endpoint, Rollout
from control_plane.endpoints.rollout_plan import DEFAULTS
from control_plane.fleet import rollouts as fleet_rollouts
from control_plane.speculators import services as speculators
from control_plane.speculators.models import SpeculatorVersion, VersionState
from control_plane.tenants import audit
from control_plane.tenants import services as tenants
from control_plane.tenants.models import ApiKey, AuditEvent, Membership, Placement, Project, User
from control_plane.tenants.principal import principal_of_user
from control_plane.training import lease as leases
from control_plane.training import services as training
from control_plane.training.erasure import request_erasure
from control_plane.training.models import OPEN, TrainingRun
from dataplane import contracts
from tests.control_plane import learning
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.tenant import Api, Tenant, make_tenant

ROUNDS = 3
ACTOR = "usr_test"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(transactional_db: None) -> Tenant:
    return make_tenant("alice")


def together(*writers: Callable[[], Any]) -> list[Any]:
    """Start all at the same moment; what each returned, or the ServiceError with which it was refused."""
    barrier, results = threading.Barrier(len(writers)), [None] * len(writers)
    crashes: list[BaseException] = []

    def run(place: int, write: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(20)
            results[place] = write()
        except ServiceError as refusal:
            results[place] = refusal  # type: ignore[call-overload]
        except BaseException as crash:
            crashes.append(crash)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place, write)) for place, write in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "writers wait for each other"
    if crashes:
        raise crashes[0]
    return results


def _refused(results: list[Any]) -> int:
    return sum(isinstance(result, ServiceError) for result in results)


def _learner(tenant: Tenant) -> learning.Tenant:
    speculator = speculators.ensure_speculator(tenant.project, tenant.endpoint.model_id)
    found = learning.Tenant(tenant.project, tenant.endpoint, speculator)
    found.consent()
    return found


def _states(tenant: Tenant) -> Counter[str]:
    return Counter(SpeculatorVersion.objects.filter(project=tenant.project).values_list("state", flat=True))


def _check_audit(tenant: Tenant) -> None:
    assert audit.first_broken(tenant.organization.id) is None


def test_of_two_promotions_one_stays_active(alice: Tenant) -> None:
    learner = _learner(alice)
    for _ in range(ROUNDS):
        versions = [learning.make_version(learner) for _ in range(3)]
        results = together(*(lambda version=version: speculators.promote(version, actor=ACTOR) for version in versions))
        assert _refused(results) == 0
        assert _states(alice)["active"] == 1
    _check_audit(alice)


def test_promotion_rollback_and_erasure_at_once_leave_nothing_active_that_was_erased(alice: Tenant) -> None:
    learner = _learner(alice)
    for _ in range(ROUNDS):
        active = learning.make_version(learner, state="active")
        eligible = learning.make_version(learner)
        together(
            lambda version=eligible: speculators.promote(version, actor=ACTOR),
            lambda: speculators.rollback(learner.speculator, actor=ACTOR, message="x"),
            lambda: request_erasure(alice.project, actor=ACTOR),
            lambda version=active: speculators.pin(version, actor=ACTOR),
        )
        assert _states(alice)["active"] == 0
        assert set(_states(alice)) <= {VersionState.RETIRED, VersionState.REJECTED}
    _check_audit(alice)


def test_a_run_is_claimed_once(alice: Tenant) -> None:
    learner = _learner(alice)
    for _ in range(ROUNDS):
        run = training.start_run(learner.speculator, trigger="manual", actor=ACTOR)
        results = together(*(lambda: leases.claim(run.id, seconds=60) for _ in range(4)))
        assert sum(result is not None for result in results) == 1
        run.refresh_from_db()
        assert (run.attempts, run.events.filter(code="claimed").count()) == (1, 1)
        winner = next(result for result in results if result is not None)
        winner.move("cancelled")


def test_a_speculator_has_one_open_run_whoever_starts_it(alice: Tenant) -> None:
    learner = _learner(alice)
    for _ in range(ROUNDS):
        results = together(
            *(lambda: training.start_run(learner.speculator, trigger="manual", actor=ACTOR) for _ in range(4))
        )
        assert _refused(results) == 3
        assert TrainingRun.objects.filter(project=alice.project, state__in=OPEN).count() == 1
        training.cancel_run(next(run for run in results if not isinstance(run, ServiceError)), actor=ACTOR)


def test_claiming_and_cancelling_end_in_one_of_both(alice: Tenant) -> None:
    learner = _learner(alice)
    for _ in range(ROUNDS):
        run = training.start_run(learner.speculator, trigger="manual", actor=ACTOR)
        lease, _ = together(lambda: leases.claim(run.id, seconds=60), lambda: training.cancel_run(run, actor=ACTOR))
        run.refresh_from_db()
        if lease is None:
            assert run.state == "cancelled" and run.lease_token is None
        else:
            assert run.state == "admitted" and run.cancel_requested_at is not None
            with pytest.raises(leases.Cancelled):
                lease.heartbeat()
            lease.move("cancelled")


def test_a_key_that_is_rotated_twice_at_once_without_overlap_has_one_successor(alice: Tenant) -> None:
    for number in range(ROUNDS):
        key, _ = tenants.create_api_key(alice.project, name=f"key {number}", actor=ACTOR)
        results = together(*(lambda: tenants.rotate_api_key(key, overlap_seconds=0, actor=ACTOR) for _ in range(3)))
        assert _refused(results) == 2
        live = [row for row in ApiKey.objects.filter(project=alice.project, name=key.name) if row.is_live]
        assert len(live) == 1
    _check_audit(alice)


def test_one_idempotency_key_has_one_effect(alice: Tenant) -> None:
    for number in range(ROUNDS):
        body = {"organization_id": alice.organization.id, "name": f"project {number}"}
        answers = together(
            *(
                lambda: Api(alice.service_key_text).post("/api/v1/projects", body, Idempotency_Key=f"key-{number}")
                for _ in range(4)
            )
        )
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses[201] >= 1 and statuses[201] + statuses[409] == 4, statuses
        made = [answer for answer in answers if answer.status_code == 201]
        assert sum("Idempotency-Replayed" not in answer.headers for answer in made) == 1
        assert len({answer.json()["id"] for answer in made}) == 1
        assert Project.objects.filter(organization=alice.organization, name=body["name"]).count() == 1


def test_of_writers_with_one_etag_one_wins(alice: Tenant) -> None:
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    for number in range(ROUNDS):
        etag = alice.api.get(path).headers["ETag"]
        answers = together(
            *(
                lambda value=value: Api(alice.service_key_text).patch(path, {"max_lookahead": value}, If_Match=etag)
                for value in range(4 * number, 4 * number + 3)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
        winner = next(answer for answer in answers if answer.status_code == 200).json()["max_lookahead"]
        assert Endpoint.objects.get(project=alice.project).max_lookahead == winner
    _check_audit(alice)


def test_of_two_rollouts_started_at_once_one_wins(alice: Tenant) -> None:
    for number in range(ROUNDS):
        results = together(*(lambda value=value: _roll_out(alice, value) for value in (2, 3, 4)))
        assert _refused(results) == 2
        winner = next(row for row in results if isinstance(row, Rollout))
        together(lambda: rollouts.abort(winner, actor=ACTOR), lambda: fleet_rollouts.advance())
        fleet_rollouts.advance()
        assert not Rollout.objects.filter(project=alice.project, state__in=["pending", "surging"]).exists(), number
    assert _shares(alice) == WHOLE
    _check_audit(alice)


def test_whoever_steers_a_rollout_the_shares_stay_whole(alice: Tenant) -> None:
    node = FakeNode()
    node.heartbeat()
    for _ in range(ROUNDS):
        rollout = _roll_out(alice, 2)
        node.heartbeat()
        together(
            lambda: fleet_rollouts.advance(),
            lambda: fleet_rollouts.advance(),
            lambda: rollouts.hurry(rollout, actor=ACTOR),
            lambda: rollouts.pause(rollout, actor=ACTOR),
            lambda: endpoints.update_endpoint(alice.endpoint, {"max_replicas": 2}, actor=ACTOR),
            lambda: node.heartbeat(),
        )
        assert _shares(alice) == WHOLE
        together(
            lambda: rollouts.roll_back(alice.endpoint, actor=ACTOR),
            lambda: endpoints.set_desired_state(alice.endpoint, "stopped", actor=ACTOR),
            lambda: fleet_rollouts.advance(),
        )
        endpoints.set_desired_state(alice.endpoint, "running", actor=ACTOR)
        for _ in range(3):
            node.heartbeat()
            fleet_rollouts.advance()
        assert _shares(alice) == WHOLE
        assert not Rollout.objects.filter(project=alice.project).exclude(state__in=ROLLOUT_ENDED).exists()
    _check_audit(alice)


def _roll_out(tenant: Tenant, lookahead: int) -> Rollout:
    spec = deployments.changed(deployments.active_deployment(tenant.endpoint), {"max_lookahead": lookahead})
    assert spec is not None
    return rollouts.start(tenant.endpoint, spec, DEFAULTS["canary"], actor=ACTOR)


def _shares(tenant: Tenant) -> int:
    return sum(Deployment.objects.filter(endpoint=tenant.endpoint).values_list("weight", flat=True))


def test_a_name_is_given_once(alice: Tenant) -> None:
    for number in range(ROUNDS):
        body = {"project_id": alice.project.id, "name": f"twin-{number}", "model": alice.endpoint.model_id}
        answers = together(*(lambda: Api(alice.service_key_text).post("/api/v1/endpoints", body) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409]


def test_two_owners_cannot_both_leave(alice: Tenant) -> None:
    for number in range(ROUNDS):
        second = User.objects.create_user(f"second-{number}@example.com")
        theirs = Membership.objects.create(organization=alice.organization, user=second, role="owner")
        mine = Membership.objects.get(organization=alice.organization, user=alice.user)
        results = together(
            lambda: tenants.change_role(mine, "viewer", principal=principal_of_user(second)),
            lambda: tenants.change_role(theirs, "viewer", principal=alice.principal),
        )
        assert _refused(results) == 1
        owners = Membership.objects.filter(organization=alice.organization, role="owner")
        assert owners.count() == 1
        Membership.objects.filter(organization=alice.organization, user=alice.user).update(role="owner")
        theirs.delete()


def test_usage_is_stored_and_summed_once_whoever_delivers_it(alice: Tenant) -> None:
    nodes = [new_id("node"), new_id("node")]
    for number in range(ROUNDS):
        start = 20 * number + 1
        batches = [
            contracts.to_dict(sequenced([usage_event(alice, 100 * place + start + n) for n in range(20)], start=start))
            for place in range(2)
        ]
        together(
            *(
                lambda node=node, batch=batch, turned=turned: ingest(node, batch[::-1] if turned else batch)
                for node, batch in zip(nodes, batches, strict=True)
                for turned in (False, True)
            )
        )
        assert UsageEvent.objects.filter(organization=alice.organization).count() == 40 * (number + 1)
    assert rollups.differences() == []


def test_changes_of_one_project_and_of_its_placement_never_wait_for_each_other(alice: Tenant) -> None:
    from control_plane.fleet import placement

    node = FakeNode()
    node.heartbeat()
    for number in range(ROUNDS):
        generation = node.read_snapshot().generation
        together(
            lambda: tenants.create_api_key(alice.project, name=f"key {number}", actor=ACTOR),
            lambda: tenants.update_project(alice.project, {"requests_per_minute": 100 + number}, actor=ACTOR),
            lambda: placement.place_all(),
            lambda: node.read_snapshot(),
            lambda: tenants.rotate_cache_salt(alice.project),
        )
        told = node.read_snapshot()
        assert told.generation > generation
        assert f"key {number}" in ApiKey.objects.filter(project=alice.project).values_list("name", flat=True)
        assert len(told.keys) == ApiKey.objects.filter(project=alice.project).count()
        assert told.projects[0].limits.requests_per_minute == 100 + number
    assert Placement.objects.filter(project=alice.project).count() == 1
    _check_audit(alice)


def test_the_audit_chain_stays_whole_under_many_writers(alice: Tenant) -> None:
    names = [f"name {number}" for number in range(6)]
    before = AuditEvent.objects.filter(organization=alice.organization).count()
    together(
        *(
            lambda name=name: audit.record(
                alice.organization.id, actor=ACTOR, action="test.write", target=name, changes={"name": name}
            )
            for name in names
        )
    )
    numbers = AuditEvent.objects.filter(organization=alice.organization).order_by("number")
    assert list(numbers.values_list("number", flat=True)) == list(range(1, before + len(names) + 1))
    _check_audit(alice)
