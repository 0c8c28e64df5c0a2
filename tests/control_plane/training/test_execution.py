"""Runs against the real database and bucket, with a real child process that needs no PyTorch."""

import hashlib
import json
import threading
import time
from datetime import timedelta

import pytest
from django.db import close_old_connections, connection
from django.utils import timezone

from control_plane.common.object_store import object_store
from control_plane.endpoints.deployments import open_rollout
from control_plane.endpoints.rollout_plan import DEFAULTS
from control_plane.endpoints.services import update_endpoint
from control_plane.fleet.reconciler import reconcile
from control_plane.speculators.manifest import is_authentic
from control_plane.speculators.models import SpeculatorVersion
from control_plane.speculators.policy import SpeculatorPolicy, set_policy
from control_plane.speculators.selectors import active_version, active_version_ref
from control_plane.speculators.services import promote, set_frozen
from control_plane.speculators.timeline import history
from control_plane.tenants.placements import generation_of
from control_plane.training import erasure, services
from control_plane.training.config import gate_policy, training_config
from control_plane.training.execution import execute
from control_plane.training.models import TrainingRun
from control_plane.training.tasks import execute_run
from dataplane.contracts import SignedManifest, from_dict
from tests.control_plane.learning import (
    KEY,
    add_window,
    make_tenant,
    make_version,
    put_segment,
    use_training_process,
)
from tests.control_plane.node import FakeNode

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def store(s3_settings):
    return object_store()


@pytest.fixture
def tenant(store):
    tenant = make_tenant()
    policy = tenant.consent()
    for minutes in (5, 4, 3, 2, 1):
        put_segment(store, tenant, at=timezone.now() - timedelta(minutes=minutes))
    services.discover_segments(policy, store, lookback_days=3)
    return tenant


def start(tenant):
    return services.start_run(tenant.speculator, trigger="manual", actor="usr_test")


def run_now(run):
    execute_run(run.id)
    run.refresh_from_db()
    return run


def events(run):
    return list(run.events.values_list("to_state", flat=True))


def test_a_run_that_gains_is_published_promoted_and_told_to_the_nodes(tenant, store, settings, tmp_path):
    use_training_process(settings, tmp_path, sleep=0.5)
    before = generation_of(tenant.project.id)
    run = run_now(start(tenant))
    assert (run.state, run.state_code) == ("succeeded", "gain_measured")
    assert events(run) == [
        "queued", "admitted", "preparing", "running", "evaluating", "publishing", "succeeded",
    ]  # fmt: skip
    assert [loss for _, loss in run.loss_series] == [1.5] and run.training_milliseconds >= 500
    version = active_version(tenant.speculator)
    assert version.pk == run.version_id and version.number == 1 and version.training_run_id == run.id
    assert version.gate["outcome"] == "accepted" and version.consent["capture"] is True
    assert generation_of(tenant.project.id) == before + 1

    reference = active_version_ref(tenant.endpoint)
    body = store.get(reference.manifest_key)
    assert hashlib.sha256(body).hexdigest() == reference.manifest_sha256
    signed = from_dict(SignedManifest, json.loads(body))
    assert is_authentic(signed, {"test": KEY.public_base64})
    assert signed.manifest.project_id == tenant.project.id and signed.manifest.static_sha256 == "a" * 64
    artifact = store.get(signed.manifest.file.key)
    assert hashlib.sha256(artifact).hexdigest() == signed.manifest.file.sha256
    assert len(artifact) == signed.manifest.file.size_bytes


def test_the_newest_traffic_is_held_out_and_the_input_is_frozen(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    run = run_now(start(tenant))
    days = sorted(run.inputs["train"] + run.inputs["heldout"])
    assert len(run.inputs["train"]) == 4 and len(run.inputs["heldout"]) == 1 and len(set(days)) == 5
    newest = tenant.project.traffic_segments.order_by("-last_at").first()
    assert run.inputs["heldout"] == [newest.key]


def test_scratch_folders_are_gone_afterwards(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    run_now(start(tenant))
    assert list((tmp_path / "var" / "training").iterdir()) == []


def test_a_second_version_is_judged_against_the_first_and_supersedes_it(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    first = run_now(start(tenant)).version
    use_training_process(settings, tmp_path, candidate=3.5)
    run = run_now(start(tenant))
    first.refresh_from_db()
    assert run.state == "succeeded" and run.incumbent_id == first.pk
    assert first.state == "superseded" and run.version.parent_id == first.pk and run.version.number == 2


@pytest.mark.parametrize(
    ("behaviour", "state", "code"),
    [
        ({"candidate": 2.0}, "rejected", "no_gain_measured"),
        ({"greedy_identical": False}, "rejected", "output_changed"),
        ({"outcome": "skipped", "reason": "nothing to gain"}, "skipped", "child_skipped"),
        ({"exit": 3}, "failed", "child_failed"),
        ({"report": {"training_run_id": "run_other"}}, "failed", "bad_report"),
        ({"report": {"num_train_records": "many"}}, "failed", "bad_report"),
        ({"report": {"train_seconds": float("nan")}}, "failed", "bad_report"),
        ({"report": {"delta_sha256": "b" * 64}}, "failed", "bad_artifact"),
    ],
)
def test_a_run_without_a_sure_gain_ends_visibly_and_changes_nothing(tenant, settings, tmp_path, behaviour, state, code):
    use_training_process(settings, tmp_path, **behaviour)
    run = run_now(start(tenant))
    assert (run.state, run.state_code) == (state, code) and run.state_message and run.finished_at
    assert active_version(tenant.speculator) is None


def test_a_child_that_overruns_its_time_is_tried_again_and_then_fails(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path, sleep=60)
    settings.SLIPSTREAM_TRAINING_WALL_SECONDS = 1
    run = start(tenant)
    for attempt in (1, 2):
        assert (run_now(run).state, run.attempts) == ("queued", attempt)
    assert run_now(run).state == "failed" and run.attempts == 3


def test_a_finished_run_is_not_run_again_by_a_second_message(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    run = run_now(start(tenant))
    assert run_now(run).attempts == 1


def test_a_run_without_consent_is_cancelled(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    run = start(tenant)
    tenant.consent(capture=False)
    assert run_now(run).state == "cancelled"


def test_consent_withdrawn_during_the_run_ends_its_child(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path, sleep=60)
    run = start(tenant)
    worker = in_thread(run)
    wait_for(run, "running")
    tenant.consent(capture=False)
    worker.join(20)
    assert not worker.is_alive()
    run.refresh_from_db()
    assert run.state == "cancelled" and run.lease_token is None
    assert SpeculatorVersion.objects.unscoped().count() == 0


def test_consent_withdrawn_during_the_upload_leaves_nothing_of_the_version(tenant, store, settings, tmp_path):
    class Withdrawing:
        """The bucket; somebody withdraws the consent just before each upload."""

        def __getattr__(self, name):
            return getattr(store, name)

        def put_if_absent(self, key, body):
            tenant.consent(capture=False)
            return store.put_if_absent(key, body)

    use_training_process(settings, tmp_path)
    run = start(tenant)
    execute(run.id, store=Withdrawing(), config=training_config(), gate=gate_policy())
    run.refresh_from_db()
    version = SpeculatorVersion.objects.get(project=tenant.project)
    assert run.state == "cancelled" and version.state == "purged"
    assert not list(store.list(f"projects/{tenant.project.id}/speculators/"))
    assert not list(store.list(f"projects/{tenant.project.id}/manifests/"))


def test_traffic_deleted_during_the_upload_leaves_nothing_of_the_version(tenant, store, settings, tmp_path):
    class Erasing:
        """The bucket; somebody deletes the traffic, and the sweep finishes that, just before the first upload."""

        def __getattr__(self, name):
            return getattr(store, name)

        def put_if_absent(self, key, body):
            if not tenant.project.erasure_receipts.exists():
                erasure.finish(erasure.request_erasure(tenant.project, actor="usr_test"), store)
            return store.put_if_absent(key, body)

    use_training_process(settings, tmp_path)
    run = start(tenant)
    execute(run.id, store=Erasing(), config=training_config(), gate=gate_policy())
    run.refresh_from_db()
    version = SpeculatorVersion.objects.get(project=tenant.project)
    assert run.state == "cancelled" and version.state == "purged"
    assert not list(store.list(f"projects/{tenant.project.id}/"))


def test_a_segment_that_is_gone_is_left_out(tenant, store, settings, tmp_path):
    use_training_process(settings, tmp_path)
    store.delete(tenant.project.traffic_segments.order_by("id").first().key)
    assert run_now(start(tenant)).report["num_train_records"] == 64


def test_foreign_and_broken_records_never_reach_the_child(tenant, store, settings, tmp_path):
    use_training_process(settings, tmp_path)
    put_segment(store, tenant, extra=[b'{"project_id": "prj_other", "model": "tiny"}', b"{broken"])
    services.discover_segments(tenant.project.traffic_policy, store, lookback_days=3)
    run = run_now(start(tenant))
    assert run.state == "succeeded"  # the child asserts that all records are its project's
    assert run.report["num_train_records"] == 96


def test_with_promotion_by_hand_the_version_waits_for_a_person(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    set_policy(tenant.speculator, SpeculatorPolicy(promotion="manual"), actor="usr_test")
    run = run_now(start(tenant))
    assert (run.state, run.state_code) == ("succeeded", "waiting_for_promotion")
    version = run.version
    assert version.state == "eligible" and active_version(tenant.speculator) is None
    assert version.events.order_by("-id").first().code == "waiting_for_promotion"
    assert [event.kind for event in history(tenant.speculator)][:2] == ["waiting", "trained"]
    low, high = version.evaluation["candidate"]["interval"]
    assert low <= 3.0 <= high
    promote(version, actor="usr_test")
    assert active_version(tenant.speculator) == version


def _busy(tenant):
    """The endpoint runs and has had requests: something to try a version on."""
    node = FakeNode("node-1", model=tenant.endpoint.model_id)
    node.heartbeat()
    reconcile()
    add_window(tenant, "adaptive", None, steps=10, accepted=5)


def test_with_the_strategy_canary_the_version_goes_on_trial(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    set_policy(tenant.speculator, SpeculatorPolicy(strategy="canary"), actor="usr_test")
    _busy(tenant)
    run = run_now(start(tenant))
    version = SpeculatorVersion.objects.get(project=tenant.project)
    assert (run.state, version.state, version.pk) == ("succeeded", "canary", run.version_id)
    rollout = open_rollout(tenant.endpoint)
    assert (rollout.trigger, rollout.target.speculator_version_id) == ("promotion", version.pk)
    assert active_version(tenant.speculator) is None


def test_while_another_rollout_is_open_a_version_waits_for_a_person(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    set_policy(tenant.speculator, SpeculatorPolicy(strategy="canary"), actor="usr_test")
    _busy(tenant)
    changes = {"max_lookahead": 2}
    update_endpoint(tenant.endpoint, changes, DEFAULTS["canary"], actor="usr_test")
    run = run_now(start(tenant))
    version = SpeculatorVersion.objects.get(project=tenant.project)
    assert (run.state, run.state_code, version.state) == ("succeeded", "rollout_open", "eligible")
    assert "waiting" in {event.kind for event in history(tenant.speculator)}


def test_a_run_is_judged_by_its_speculators_own_thresholds_and_keeps_them(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)  # gains 50 %
    set_policy(tenant.speculator, SpeculatorPolicy(min_gain=0.6, min_heldout_records=5), actor="usr_test")
    run = run_now(start(tenant))
    assert (run.state, run.state_code) == ("rejected", "no_gain_measured")
    thresholds = run.gate["thresholds"]
    assert (thresholds["min_gain"], thresholds["min_heldout_records"], thresholds["confidence"]) == (0.6, 5, 0.95)
    assert history(tenant.speculator).first().kind == "rejected"


def test_a_frozen_speculator_keeps_its_version_and_the_candidate_stays_eligible(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    run = start(tenant)
    set_frozen(tenant.speculator, True, actor="usr_test")
    assert run_now(run).state_code == "frozen"
    assert run.version.state == "eligible" and active_version(tenant.speculator) is None


def test_a_version_that_went_live_during_the_run_is_not_overwritten(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path, sleep=1.5)
    run = start(tenant)
    worker = in_thread(run)
    wait_for(run, "running")
    other = make_version(tenant, state="active")
    worker.join()
    run.refresh_from_db()
    assert (run.state, run.state_code) == ("succeeded", "superseded")
    assert active_version(tenant.speculator).pk == other.pk


def test_cancelling_a_running_run_ends_its_child(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path, sleep=60)
    run = start(tenant)
    worker = in_thread(run)
    wait_for(run, "running")
    services.cancel_run(run, actor="usr_test")
    worker.join(20)
    assert not worker.is_alive()
    run.refresh_from_db()
    assert run.state == "cancelled" and run.lease_token is None
    assert SpeculatorVersion.objects.unscoped().count() == 0


def test_a_worker_that_lost_its_lease_has_no_effect(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path, sleep=1.5)
    run = start(tenant)
    worker = in_thread(run)
    wait_for(run, "running")
    TrainingRun.objects.filter(project=tenant.project).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert services.sweep() == [run.id]
    worker.join(20)
    run.refresh_from_db()
    assert run.state == "queued" and run.state_code == "lease_lost"
    assert SpeculatorVersion.objects.unscoped().count() == 0


def test_an_unreachable_bucket_is_retried(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    run = start(tenant)
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    assert (run_now(run).state, run.state_code) == ("queued", "object_store")


def test_a_missing_model_folder_fails_with_its_name(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    (tmp_path / "models" / "tiny").rmdir()
    run = run_now(start(tenant))
    assert run.state == "failed" and "target model tiny" in run.state_message


def test_a_model_without_a_static_speculator_skips_the_run(tenant, settings, tmp_path):
    use_training_process(settings, tmp_path)
    (tmp_path / "checkpoints" / "tiny").rmdir()
    run = run_now(start(tenant))
    assert (run.state, run.state_code) == ("skipped", "no_static_speculator")


def test_the_worker_never_imports_torch():
    import subprocess
    import sys

    code = "import control_plane.celery, django; django.setup(); import control_plane.training.tasks, sys; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_max_records_bounds_the_input(tenant):
    from control_plane.training.inputs import choose_inputs

    inputs, last = choose_inputs(tenant.project.id, max_records=40, heldout_records=16)
    assert inputs.records == 48 and last == tenant.project.traffic_segments.order_by("-id").first().id
    assert training_config().min_records == 48


def in_thread(run):
    def work():
        try:
            execute_run(run.id)
        finally:
            connection.close()
            close_old_connections()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for(run, state):
    deadline = time.monotonic() + 20
    while run.state != state:
        assert time.monotonic() < deadline, run.state
        time.sleep(0.02)
        run.refresh_from_db()
