"""Every Celery task, run for one tenant while another stands by: nothing of the other changes, in any table or object.

A task without a case here fails. A case gives alice something to do and bob nothing; afterwards alice's rows must
differ (else the case shows nothing) and bob's must be what they were, to the last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from control_plane.celery import app
from control_plane.common.object_store import ObjectStore, object_store
from control_plane.common.states import record_event
from control_plane.endpoints.deployments import active_deployment, changed
from control_plane.endpoints.models import CatalogueModel, Endpoint, SpeculationWindow
from control_plane.endpoints.rollout_plan import DEFAULTS
from control_plane.endpoints.rollouts import start
from control_plane.endpoints.services import set_desired_state
from control_plane.fleet import tasks as fleet
from control_plane.speculators.services import ensure_speculator, promote
from control_plane.tenants import tasks as tenants
from control_plane.tenants.models import IdempotencyRecord
from control_plane.tenants.placements import move
from control_plane.training import tasks as training
from control_plane.training.lease import claim
from control_plane.training.models import TrafficSegment, TrainingRun
from control_plane.training.services import start_run
from control_plane.webhooks import tasks as webhooks
from control_plane.webhooks.models import WebhookDelivery
from control_plane.webhooks.services import create_webhook, send_test
from infra.local.valkey import Valkey
from tests.control_plane import learning
from tests.control_plane.node import FakeNode
from tests.control_plane.tenancy import footprint
from tests.control_plane.tenant import Tenant, make_tenant


def _learner(tenant: Tenant, **consent: Any) -> learning.Tenant:
    speculator = ensure_speculator(tenant.project, tenant.endpoint.model_id)
    found = learning.Tenant(tenant.project, tenant.endpoint, speculator)
    found.consent(**consent)
    return found


def _reconcile(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    fleet.reconcile()  # both settle
    set_desired_state(alice.endpoint, "stopped", actor=alice.user.id)
    return fleet.reconcile


def _advance_rollouts(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    """Both roll out; only alice's endpoint is on a node that has applied it."""
    node = FakeNode()
    fleet.reconcile()
    for tenant in (alice, bob):
        spec = changed(active_deployment(tenant.endpoint), {"max_lookahead": 3})
        assert spec is not None
        start(tenant.endpoint, spec, DEFAULTS["canary"], actor=tenant.user.id)
    with transaction.atomic():
        move(withdraw=[(bob.project.id, node.id)])
    node.heartbeat()
    return fleet.advance_rollouts


def _purge_endpoints(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant in (alice, bob):
        set_desired_state(tenant.endpoint, "deleted", actor=tenant.user.id)
    fleet.reconcile()
    past = timezone.now() - timedelta(days=settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS, minutes=1)
    Endpoint.objects.filter(organization=alice.organization).update(deleted_at=past)
    return fleet.purge_endpoints


def _forget_windows(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant in (alice, bob):
        learning.add_window(_learner(tenant), "adaptive", None, steps=10, accepted=5)
    past = timezone.now() - timedelta(days=fleet.WINDOW_DAYS + 1)
    SpeculationWindow.objects.filter(organization=alice.organization).update(started_at=past, ended_at=past)
    return fleet.forget_windows


def _forget(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant in (alice, bob):
        body = {"project_id": tenant.project.id, "name": "second"}
        assert tenant.api.post("/api/v1/api-keys", body, Idempotency_Key="once").status_code == 201
    past = timezone.now() - timedelta(hours=tenants.IDEMPOTENCY_HOURS + 1)
    IdempotencyRecord.objects.filter(actor=alice.service_key.id).update(created_at=past)
    return tenants.forget


def _execute_run(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    CatalogueModel.objects.update(static_checkpoint="tiny")  # a folder that use_training_process makes
    runs = {}
    for tenant in (alice, bob):
        learner = _learner(tenant)
        for minutes in (5, 4, 3, 2, 1):
            learning.put_segment(object_store(), learner, at=timezone.now() - timedelta(minutes=minutes))
        runs[tenant.organization.id] = start_run(learner.speculator, trigger="manual", actor=tenant.user.id)
    training.discover_segments()
    return lambda: training.execute_run(runs[alice.organization.id].id)


def _discover_segments(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant in (bob, alice):
        learning.put_segment(object_store(), _learner(tenant), records=1)
        if tenant is bob:
            training.discover_segments()
    return training.discover_segments


def _sweep(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant in (alice, bob):
        run = start_run(_learner(tenant).speculator, trigger="manual", actor=tenant.user.id)
        assert claim(run.id, seconds=600) is not None
    past = timezone.now() - timedelta(minutes=1)
    TrainingRun.objects.filter(organization=alice.organization).update(lease_expires_at=past)
    return training.sweep


def _watch_regressions(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant, accepted in ((alice, 100), (bob, 2000)):
        learner = _learner(tenant)
        version = promote(learning.make_version(learner), actor=tenant.user.id)
        learning.add_window(learner, "static", None, steps=1000, accepted=1000)
        learning.add_window(learner, "adaptive", version, steps=1000, accepted=accepted)
    return training.watch_regressions


def _enforce_retention(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant, days in ((alice, 2), (bob, 0)):
        learner = _learner(tenant, retention_days=1)
        learning.put_segment(object_store(), learner, at=timezone.now() - timedelta(days=days, minutes=1))
    training.discover_segments()
    assert TrafficSegment.objects.filter(organization=bob.organization).count() == 1
    return training.enforce_retention


def _dispatch_webhooks(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    """Both listen; something happens to alice alone. Where nobody answers, an attempt is noted."""
    for tenant in (alice, bob):
        create_webhook(tenant.organization, url="https://[::1]:9/x", event_types=["endpoint.*"], actor=tenant.user.id)
    webhooks.dispatch_webhooks()
    record_event(alice.endpoint, before=alice.endpoint.state, code="x")
    return webhooks.dispatch_webhooks


def _forget_deliveries(alice: Tenant, bob: Tenant) -> Callable[[], None]:
    for tenant in (alice, bob):
        made, _ = create_webhook(
            tenant.organization, url="https://[::1]:9/x", event_types=["endpoint.*"], actor=tenant.user.id
        )
        send_test(made, actor=tenant.user.id)
    past = timezone.now() - timedelta(days=webhooks.RETENTION_DAYS + 1)
    WebhookDelivery.objects.filter(organization=alice.organization).update(created_at=past)
    return webhooks.forget_deliveries


# By the task's name: what gives alice alone something to do, and returns the task to be run.
CASES: dict[str, Callable[[Tenant, Tenant], Callable[[], None]]] = {
    "fleet.reconcile": _reconcile,
    "fleet.advance_rollouts": _advance_rollouts,
    "fleet.purge_endpoints": _purge_endpoints,
    "fleet.forget_windows": _forget_windows,
    "tenants.forget": _forget,
    "training.execute_run": _execute_run,
    "training.discover_segments": _discover_segments,
    "training.sweep": _sweep,
    "training.watch_regressions": _watch_regressions,
    "training.enforce_retention": _enforce_retention,
    "webhooks.dispatch": _dispatch_webhooks,
    "webhooks.forget": _forget_deliveries,
}


def _tasks() -> list[str]:
    app.loader.import_default_modules()
    return sorted(name for name in app.tasks if not name.startswith("celery."))


def _objects(store: ObjectStore, tenant: Tenant) -> set[tuple[str, int]]:
    return {(info.key, info.size_bytes) for info in store.list(f"projects/{tenant.project.id}/")}


def test_every_task_has_a_case_and_every_case_a_task() -> None:
    """A new task: add a function to CASES that gives alice something to do and bob nothing, and returns the task."""
    assert _tasks() == sorted(CASES)


@pytest.fixture
def broker(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nudges go to a real broker, from which nobody takes them."""

    def forget_connections() -> None:
        app.close()
        app.amqp._producer_pool = None

    monkeypatch.setattr(app.conf, "broker_url", valkey.url)
    forget_connections()
    yield
    forget_connections()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_task_that_works_for_one_tenant_changes_nothing_of_another(
    name: str, s3_settings: Any, broker: None, settings: Any, tmp_path: Path
) -> None:
    learning.use_training_process(settings, tmp_path)
    settings.SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE = True
    (settings.SLIPSTREAM_MODELS_DIR / "tiny-llama").mkdir()
    alice, bob = make_tenant("alice"), make_tenant("bob")
    store = object_store()
    task = CASES[name](alice, bob)
    mine, theirs, objects = footprint(alice.organization.id), footprint(bob.organization.id), _objects(store, bob)
    everything = {info.key for info in store.list("")}

    task()

    assert footprint(bob.organization.id).differences(theirs) == {}
    assert _objects(store, bob) == objects
    written = {info.key for info in store.list("")} - everything
    assert all(key.startswith(f"projects/{alice.project.id}/") for key in written), written
    assert written or name != "training.execute_run"
    assert footprint(alice.organization.id).differences(mine) != {}, "the case gave alice nothing to do"
