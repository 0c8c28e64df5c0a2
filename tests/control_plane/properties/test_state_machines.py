"""Random orders of everything that can happen to a stateful row, through the services, on the real database.

Whatever the order: every change of state is in the table, every change has its event, and the events tell the whole
story without a gap; what is refused changes nothing. A stateful model without a machine here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.common.errors import ServiceError
from control_plane.common.states import Stateful, transition
from control_plane.endpoints import deployments, rollouts
from control_plane.endpoints import services as endpoints
from control_plane.endpoints.models import ROLLOUT_ENDED, WHOLE, Deployment, Endpoint, Rollout
from control_plane.endpoints.rollout_plan import make_plan
from control_plane.fleet import reconciler
from control_plane.fleet import rollouts as fleet_rollouts
from control_plane.fleet.models import NODE_TRANSITIONS, Node
from control_plane.speculators import canary
from control_plane.speculators import services as speculators
from control_plane.speculators.models import Speculator, SpeculatorVersion
from control_plane.speculators.selectors import active_version
from control_plane.tenants.models import AuditEvent
from control_plane.training import lease as leases
from control_plane.training import services as training
from control_plane.training.erasure import request_erasure
from control_plane.training.models import LEASED, RunState, TrainingRun
from control_plane.webhooks import dispatch
from control_plane.webhooks.models import WebhookDelivery
from control_plane.webhooks.sender import Outcome
from control_plane.webhooks.services import create_webhook, replay, send_test
from tests.control_plane import learning, traffic
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import Tenant

ACTOR = "usr_test"
EXAMPLES = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """One tenant, and what happened so far."""

    tenant: Tenant
    row: Any  # the Stateful row that is watched
    node: FakeNode | None = None
    lease: leases.Lease | None = None
    others: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    make: Callable[[Tenant], World]
    happenings: dict[str, Callable[[World], Any]]
    check: Callable[[World], None] = lambda world: None
    # What else has to be written with a state, by the table's own constraints.
    beside: Callable[[str], dict[str, Any]] = lambda state: {}


# ---------------------------------------------------------------------------------------------------------- endpoints


def _endpoint(tenant: Tenant) -> World:
    return World(tenant, tenant.endpoint, node=FakeNode())


def _desire(state: str) -> Callable[[World], Any]:
    return lambda world: endpoints.set_desired_state(world.row, state, actor=ACTOR)


def _report(state: str) -> Callable[[World], Any]:
    def report(world: World) -> None:
        assert world.node is not None
        world.node.heartbeat(state=state)

    return report


def _silence(world: World) -> None:
    Node.objects.update(last_seen_at=timezone.now() - timedelta(hours=1))
    reconciler.mark_lost()


ENDPOINT = Machine(
    _endpoint,
    {
        "started": _desire("running"),
        "stopped": _desire("stopped"),
        "deleted": _desire("deleted"),
        "undeleted": lambda world: endpoints.undelete_endpoint(world.row, actor=ACTOR),
        "changed": lambda world: endpoints.update_endpoint(world.row, {"max_lookahead": 3}, actor=ACTOR),
        "changed back": lambda world: endpoints.update_endpoint(world.row, {"max_lookahead": 8}, actor=ACTOR),
        "swept": lambda world: reconciler.reconcile(),
        "node ready": _report("ready"),
        "node not ready": _report("not_ready"),
        "node silent": _silence,
    },
)

# ----------------------------------------------------------------------------------------------------------- rollouts


def _rollout(tenant: Tenant) -> World:
    node = FakeNode()
    node.heartbeat()
    spec = deployments.changed(deployments.active_deployment(tenant.endpoint), {"max_lookahead": 3})
    assert spec is not None
    plan = make_plan("canary", steps_percent=[10, 50, 100], observe_seconds=0, min_requests=30)
    return World(tenant, rollouts.start(tenant.endpoint, spec, plan, actor=ACTOR), node=node)


def _serve(*, failing: bool) -> Callable[[World], Any]:
    """Both deployments answer 40 requests."""

    def serve(world: World) -> None:
        assert world.node is not None
        row = Rollout.objects.get(pk=world.row.pk, endpoint=world.tenant.endpoint)
        windows = (
            traffic.window(world.tenant, row.source_id, requests=40),
            traffic.window(world.tenant, row.target_id, requests=40, errors=40 if failing else 0),
        )
        world.node.heartbeat(windows=windows)
        fleet_rollouts.advance()

    return serve


def _steer(action: Callable[..., Any]) -> Callable[[World], Any]:
    return lambda world: action(Rollout.objects.get(pk=world.row.pk, endpoint=world.tenant.endpoint), actor=ACTOR)


def _shares_are_whole(world: World) -> None:
    rows = Deployment.objects.filter(endpoint=world.tenant.endpoint)
    assert sum(rows.values_list("weight", flat=True)) == WHOLE
    active = rows.get(active=True)
    endpoint = Endpoint.objects.get(project=world.tenant.project, pk=world.tenant.endpoint.pk)
    assert [getattr(endpoint, name) for name in deployments.POLICY] == [
        getattr(active, name) for name in deployments.POLICY
    ]
    row = Rollout.objects.get(pk=world.row.pk, endpoint=world.tenant.endpoint)
    assert row.is_open or active.weight == WHOLE or deployments.open_rollout(endpoint) is not None
    assert row.state != "completed" or row.step == len(row.steps)


ROLLOUT = Machine(
    _rollout,
    {
        "swept": lambda world: fleet_rollouts.advance(),
        "node ready": _report("ready"),
        "node not ready": _report("not_ready"),
        "node silent": _silence,
        "served well": _serve(failing=False),
        "served well again": _serve(failing=False),
        "served badly": _serve(failing=True),
        "paused": _steer(rollouts.pause),
        "resumed": _steer(rollouts.resume),
        "hurried": _steer(rollouts.hurry),
        "aborted": _steer(rollouts.abort),
        "rolled back": lambda world: rollouts.roll_back(world.tenant.endpoint, actor=ACTOR),
        "policy changed": lambda world: endpoints.update_endpoint(
            world.tenant.endpoint, {"max_lookahead": 5}, actor=ACTOR
        ),
        "stopped": lambda world: endpoints.set_desired_state(world.tenant.endpoint, "stopped", actor=ACTOR),
        "started": lambda world: endpoints.set_desired_state(world.tenant.endpoint, "running", actor=ACTOR),
    },
    _shares_are_whole,
    lambda state: {"finished_at": timezone.now() if state in ROLLOUT_ENDED else None},
)

# ----------------------------------------------------------------------------------------------------------- versions


def _version(tenant: Tenant) -> World:
    learner, node = _learner(tenant), FakeNode()
    own = deployments.active_deployment(tenant.endpoint).id
    node.heartbeat(windows=(traffic.window(tenant, own),))  # something to try a version on
    reconciler.reconcile()
    return World(
        tenant, learning.make_version(learner), node=node, others=[learning.make_version(learner) for _ in range(2)]
    )


def _learner(tenant: Tenant) -> learning.Tenant:
    found = learning.Tenant(
        tenant.project, tenant.endpoint, speculators.ensure_speculator(tenant.project, tenant.endpoint.model_id)
    )
    found.consent()
    return found


def _roll_back(*, quarantine: bool) -> Callable[[World], Any]:
    return lambda world: speculators.rollback(_speculator(world), actor=ACTOR, message="x", quarantine=quarantine)


def _speculator(world: World) -> Speculator:
    return Speculator.objects.get(project=world.tenant.project)


def _try_version(*, failing: bool) -> Callable[[World], Any]:
    """Whatever is on trial answers requests, and the rollout goes as far as it goes."""

    def serve(world: World) -> None:
        assert world.node is not None
        row = deployments.open_rollout(world.tenant.endpoint)
        if row is None:
            return
        rollouts.hurry(row, actor=ACTOR) if not failing and row.state != "aborting" else None
        for _ in range(4):
            windows = (
                traffic.window(world.tenant, row.source_id, requests=40),
                traffic.window(world.tenant, row.target_id, requests=40, errors=40 if failing else 0),
            )
            world.node.heartbeat(windows=windows)
            fleet_rollouts.advance()

    return serve


def _one_active_at_most(world: World) -> None:
    rows = SpeculatorVersion.objects.filter(project=world.tenant.project)
    assert rows.filter(state="active").count() <= 1
    live = active_version(_speculator(world))
    assert live is None or live.promoted_at is not None
    tried = rows.filter(state="canary")
    row = deployments.open_rollout(world.tenant.endpoint)
    assert not tried or (row is not None and [row.target.speculator_version_id] == [version.id for version in tried])


VERSION = Machine(
    _version,
    {
        "promoted": lambda world: speculators.promote(world.row, actor=ACTOR),
        "tried": lambda world: canary.start(world.row, actor=ACTOR),
        "another tried": lambda world: canary.start(world.others[0], actor=ACTOR),
        "trial serves well": _try_version(failing=False),
        "trial serves badly": _try_version(failing=True),
        "trial ended by hand": lambda world: rollouts.roll_back(world.tenant.endpoint, actor=ACTOR),
        "another promoted": lambda world: speculators.promote(world.others[0], actor=ACTOR),
        "a third promoted": lambda world: speculators.promote(world.others[1], actor=ACTOR),
        "pinned": lambda world: speculators.pin(world.row, actor=ACTOR),
        "rolled back": _roll_back(quarantine=False),
        "regressed": _roll_back(quarantine=True),
        "retired": lambda world: speculators.retire(world.row, actor=ACTOR, code="x", message="x"),
        "traffic deleted": lambda world: request_erasure(world.tenant.project, actor=ACTOR),
        "frozen": lambda world: speculators.set_frozen(_speculator(world), True, actor=ACTOR),
        "swept": lambda world: training.sweep(),
    },
    _one_active_at_most,
)

# --------------------------------------------------------------------------------------------------------------- runs


def _run(tenant: Tenant) -> World:
    return World(tenant, training.start_run(_learner(tenant).speculator, trigger="manual", actor=ACTOR))


def _claim(world: World) -> None:
    world.lease = leases.claim(world.row.id, seconds=60) or world.lease


def _move(to: RunState) -> Callable[[World], Any]:
    def move(world: World) -> None:
        if world.lease is not None:
            try:
                world.lease.move(to)
            except leases.LeaseLost:
                world.lease = None

    return move


def _beat(world: World) -> None:
    if world.lease is not None:
        try:
            world.lease.heartbeat(progress=0.5, loss=1.0)
        except (leases.LeaseLost, leases.Cancelled):
            pass


def _lose(world: World) -> None:
    past = timezone.now() - timedelta(minutes=1)
    TrainingRun.objects.filter(project=world.tenant.project, lease_token__isnull=False).update(lease_expires_at=past)
    training.sweep()


def _a_lease_belongs_to_work(world: World) -> None:
    run = TrainingRun.objects.get(project=world.tenant.project, pk=world.row.pk)
    assert run.attempts <= 3
    assert (run.lease_token is not None) == (
        run.state in ("admitted", "preparing", "running", "evaluating", "publishing")
    )
    assert (run.finished_at is not None) == (run.state in leases.FINAL)


RUN = Machine(
    _run,
    {
        "claimed": _claim,
        "heartbeat": _beat,
        "lost": _lose,
        "cancelled": lambda world: training.cancel_run(world.row, actor=ACTOR),
        "traffic deleted": lambda world: request_erasure(world.tenant.project, actor=ACTOR),
        **{f"moved to {state}": _move(state) for state in RunState},
    },
    _a_lease_belongs_to_work,
    lambda state: {"lease_token": "0" * 32 if state in LEASED else None},
)

# -------------------------------------------------------------------------------------------------------------- nodes


def _node(tenant: Tenant) -> World:
    node = FakeNode()
    return World(tenant, Node.objects.get(pk=node.id), node=node)


def _restart(world: World) -> None:
    assert world.node is not None
    world.node.boot_id = f"boot-{Node.objects.get(pk=world.row.pk).events.count()}"
    world.node.heartbeat(state="not_ready")


NODE = Machine(
    _node,
    {
        **{f"reports {state}": _report(state) for state in sorted(NODE_TRANSITIONS)},
        "silent": _silence,
        "restarted": _restart,
        "swept": lambda world: reconciler.reconcile(),
    },
)

# --------------------------------------------------------------------------------------------------------- deliveries


def _delivery(tenant: Tenant) -> World:
    webhook, _ = create_webhook(tenant.organization, url="https://hooks.example.com/x", event_types=["*"], actor=ACTOR)
    return World(tenant, send_test(webhook, actor=ACTOR))


def _answered(status: int, *, last: bool = False) -> Callable[[World], Any]:
    def answered(world: World) -> None:
        rows = WebhookDelivery.objects.filter(organization=world.tenant.organization)
        if last:
            rows.update(attempts=dispatch.MAX_ATTEMPTS - 1)
        error = "" if status < 300 else "status"
        dispatch.settle(rows.select_related("webhook").get(pk=world.row.pk), Outcome(status, error, 1))

    return answered


def _replay(world: World) -> None:
    rows = WebhookDelivery.objects.filter(organization=world.tenant.organization).select_related("webhook")
    replay(rows.get(pk=world.row.pk), actor=ACTOR)


DELIVERY = Machine(
    _delivery,
    {
        "taken": _answered(204),
        "refused": _answered(500),
        "refused for the last time": _answered(500, last=True),
        "gone": _answered(410),
        "replayed": _replay,
    },
    beside=lambda state: {"next_attempt_at": timezone.now() if state == "pending" else None},
)

MACHINES: dict[type[Stateful], Machine] = {
    Endpoint: ENDPOINT,
    Rollout: ROLLOUT,
    SpeculatorVersion: VERSION,
    TrainingRun: RUN,
    Node: NODE,
    WebhookDelivery: DELIVERY,
}


def test_every_stateful_model_has_a_machine_here() -> None:
    """A new one: add a Machine with everything that can happen to it, through the services."""
    assert {model for model in apps.get_models() if issubclass(model, Stateful)} == set(MACHINES)


@contextmanager
def _undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _story(row: Stateful) -> list[tuple[str, str]]:
    events = row.events.order_by("id")  # type: ignore[attr-defined]
    return list(events.values_list("from_state", "to_state"))


def _state(row: Stateful) -> str:
    return str(type(row)._base_manager.values_list("state", flat=True).get(pk=row.pk))


def _check_story(row: Stateful) -> None:
    """Each event begins where the one before ended, every step is in the table, and the last one is now."""
    story = _story(row)
    assert story[0][0] == "", story
    for (_, before), (begins, ends) in pairwise(story):
        assert begins == before or begins == "", story
        assert begins in ("", ends) or ends in type(row).TRANSITIONS[begins], story
        assert begins != "" or ends == before, story  # a remark without a change
    assert story[-1][1] == _state(row), story


@pytest.mark.parametrize("model", sorted(MACHINES, key=lambda model: model.__name__), ids=lambda model: model.__name__)
@EXAMPLES
@given(data=st.data())
def test_no_order_of_events_leaves_the_table_or_the_story(
    model: type[Stateful], alice: Tenant, data: st.DataObject
) -> None:
    machine = MACHINES[model]
    names = data.draw(st.lists(st.sampled_from(sorted(machine.happenings)), min_size=1, max_size=14))
    with _undone():
        world = machine.make(alice)
        for name in names:
            before, audited = _story(world.row), AuditEvent.objects.filter(organization=alice.organization).count()
            try:
                with transaction.atomic():
                    machine.happenings[name](world)
            except ServiceError:
                assert _story(world.row) == before
                assert AuditEvent.objects.filter(organization=alice.organization).count() == audited
            _check_story(world.row)
            machine.check(world)


@pytest.mark.parametrize("model", sorted(MACHINES, key=lambda model: model.__name__), ids=lambda model: model.__name__)
@EXAMPLES
@given(data=st.data())
def test_a_step_that_is_not_in_the_table_is_refused_from_every_state(
    model: type[Stateful], alice: Tenant, data: st.DataObject
) -> None:
    """`transition` itself, from every state that can be reached by legal steps."""
    states = sorted(model.TRANSITIONS)
    wanted = data.draw(st.lists(st.sampled_from(states), min_size=1, max_size=10))
    with _undone():
        row = MACHINES[model].make(alice).row
        for to in wanted:
            before = _state(row)
            try:
                with transaction.atomic():
                    transition(row, to, **MACHINES[model].beside(to))
                assert to in model.TRANSITIONS[before]
                assert _state(row) == to
            except ServiceError:
                assert to not in model.TRANSITIONS[before]
                assert _state(row) == before
            _check_story(row)
