"""Discovery, scheduling, leases, regressions, deletion: on the real database and bucket."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectNotFoundError, connect, object_store
from control_plane.common.states import transition
from control_plane.speculators.models import VersionState
from control_plane.speculators.selectors import active_version
from control_plane.training import erasure, services
from control_plane.training.config import MAX_ATTEMPTS
from control_plane.training.lease import Cancelled, LeaseLost, claim
from control_plane.training.models import ErasureReceipt, RunState, TrafficSegment, TrainingRun
from tests.control_plane.learning import ACTOR, make_tenant, make_version, put_segment

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(s3_settings):
    return object_store()


@pytest.fixture
def tenant():
    return make_tenant()


def lease_of(tenant, seconds=30):
    tenant.consent()
    return claim(services.start_run(tenant.speculator, trigger="manual", actor=ACTOR).id, seconds=seconds)


# --------------------------------------------------------------------------------------------------------- discovery


def test_new_objects_become_segments_once(tenant, store):
    policy = tenant.consent()
    put_segment(store, tenant, records=7)
    assert services.discover_segments(policy, store, lookback_days=3) == 1
    assert services.discover_segments(policy, store, lookback_days=3) == 0
    segment = tenant.project.traffic_segments.get()
    assert (segment.records, segment.tokens) == (7, 35)


def test_an_object_without_metadata_is_left_alone(tenant, store):
    policy = tenant.consent()
    today = timezone.now().date()
    store.put(f"projects/{tenant.project.id}/traffic/{today}/strange.jsonl.zst", b"x")
    assert services.discover_segments(policy, store, lookback_days=3) == 0


def test_retention_deletes_old_objects_and_their_rows(tenant, store):
    policy = tenant.consent(retention_days=7)
    old = put_segment(store, tenant, at=timezone.now() - timedelta(days=9))
    new = put_segment(store, tenant)
    services.discover_segments(policy, store, lookback_days=30)
    assert services.enforce_retention(policy, store) == 1
    assert list(tenant.project.traffic_segments.values_list("key", flat=True)) == [new]
    with pytest.raises(ObjectNotFoundError):
        store.head(old)


# -------------------------------------------------------------------------------------------------------------- runs


def test_a_speculator_has_one_open_run(tenant):
    tenant.consent()
    services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    with pytest.raises(Conflict) as error:
        services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    assert error.value.code == "run_open"


def test_no_run_without_consent(tenant):
    with pytest.raises(Conflict) as error:
        services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    assert error.value.code == "no_consent"


# ------------------------------------------------------------------------------------------------------------ leases


def test_a_run_is_claimed_once(tenant):
    lease = lease_of(tenant)
    assert lease is not None and claim(lease.run_id, seconds=30) is None
    run = TrainingRun.objects.get(project=tenant.project)
    assert (run.state, run.attempts) == ("admitted", 1)


def test_a_heartbeat_extends_the_lease_and_shows_progress(tenant):
    lease = lease_of(tenant, seconds=1)
    before = TrainingRun.objects.get(project=tenant.project).lease_expires_at
    lease.heartbeat(phase="training", progress=0.5, loss=1.25)
    run = TrainingRun.objects.get(project=tenant.project)
    assert run.lease_expires_at > before and (run.phase, run.progress, run.loss) == ("training", 0.5, 1.25)


def test_silence_requeues_and_the_last_attempt_fails(tenant):
    lease = lease_of(tenant, seconds=-1)
    for attempt in range(1, MAX_ATTEMPTS):
        assert services.sweep() == [lease.run_id]
        with pytest.raises(LeaseLost):
            lease.heartbeat()
        lease = claim(lease.run_id, seconds=-1)
        assert TrainingRun.objects.get(project=tenant.project).attempts == attempt + 1
    assert services.sweep() == []
    run = TrainingRun.objects.get(project=tenant.project)
    assert (run.state, run.state_code, run.lease_token) == ("failed", "worker_lost", None)


def test_a_lease_that_is_kept_is_left_alone(tenant):
    lease_of(tenant)
    assert services.sweep() == []
    assert TrainingRun.objects.get(project=tenant.project).state == "admitted"


def test_cancelling_a_queued_run_ends_it_and_a_running_one_is_told(tenant):
    lease = lease_of(tenant)
    run = services.cancel_run(TrainingRun.objects.get(project=tenant.project), actor=ACTOR)
    assert run.state == "admitted"
    with pytest.raises(Cancelled):
        lease.heartbeat()
    lease.move(RunState.CANCELLED)
    again = services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    assert services.cancel_run(again, actor=ACTOR).state == "cancelled"
    with pytest.raises(Conflict):
        services.cancel_run(again, actor=ACTOR)


def test_a_lease_without_its_state_cannot_be_stored(tenant):
    lease_of(tenant)
    with pytest.raises(IntegrityError), transaction.atomic():
        TrainingRun.objects.filter(project=tenant.project).update(state="queued")


def test_an_abandoned_upload_is_rejected(tenant):
    version = make_version(tenant)
    type(version).objects.filter(project=tenant.project).update(
        state="uploading", created_at=timezone.now() - timedelta(hours=1)
    )
    services.sweep()
    version.refresh_from_db()
    assert (version.state, version.state_code) == ("rejected", "upload_abandoned")


# ---------------------------------------------------------------------------------------------------------- deletion


def test_deleting_traffic_removes_objects_retires_versions_and_gives_a_receipt(tenant, store):
    policy = tenant.consent()
    other = make_tenant("globex")
    key, kept = put_segment(store, tenant), put_segment(store, other)
    services.discover_segments(policy, store, lookback_days=3)
    version = make_version(tenant, state="active")
    store.put(version.artifact_key, b"delta")
    store.put(version.manifest_key, b"manifest")

    salt = tenant.project.cache_salt
    receipt = erasure.request_erasure(tenant.project, actor=ACTOR)
    assert tenant.project.cache_salt != salt  # nodes forget what they remember
    assert active_version(tenant.speculator) is None and receipt.retired_versions == [version.id]
    TrafficSegment.objects.filter(project=tenant.project).update(first_at=timezone.now() - timedelta(minutes=1))
    ErasureReceipt.objects.filter(project=tenant.project).update(requested_at=timezone.now())
    receipt.refresh_from_db()
    erasure.finish_open(store)
    receipt.refresh_from_db()
    version.refresh_from_db()
    assert receipt.completed_at and (receipt.num_records, receipt.num_objects) == (16, 3)
    assert version.state == VersionState.PURGED and not tenant.project.traffic_segments.exists()
    for gone in (key, version.artifact_key, version.manifest_key):
        with pytest.raises(ObjectNotFoundError):
            store.head(gone)
    assert store.head(kept)


def test_deleted_traffic_that_arrives_late_is_deleted_too(tenant, store):
    tenant.consent()
    erasure.request_erasure(tenant.project, actor=ACTOR)
    tenant.project.refresh_from_db()
    policy = type(tenant.consent()).objects.get(project=tenant.project)
    late = put_segment(store, tenant, at=timezone.now() - timedelta(minutes=5))
    new = put_segment(store, tenant, at=timezone.now() + timedelta(seconds=1))
    assert services.discover_segments(policy, store, lookback_days=3) == 1
    assert tenant.project.traffic_segments.get().key == new
    with pytest.raises(ObjectNotFoundError):
        store.head(late)


def test_deletion_cancels_the_open_run(tenant):
    tenant.consent()
    run = services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    erasure.request_erasure(tenant.project, actor=ACTOR)
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_a_bucket_that_is_away_leaves_the_receipt_open(tenant):
    receipt = erasure.request_erasure(tenant.project, actor=ACTOR)
    dead = connect(
        endpoint_url="http://127.0.0.1:9", access_key_id="x", secret_access_key="x", region="us-east-1", bucket="b"
    )
    erasure.finish_open(dead)
    receipt.refresh_from_db()
    assert receipt.completed_at is None


def test_a_purged_version_stays_in_the_record_with_its_evidence(tenant):
    version = make_version(tenant)
    transition(version, VersionState.RETIRED)
    transition(version, VersionState.PURGED)
    version.refresh_from_db()
    assert version.evaluation["candidate"]["acceptance_length"] == 3.0
