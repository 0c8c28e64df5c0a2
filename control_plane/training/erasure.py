"""Deleting a project's traffic, and everything that learned from it. The receipt is the proof."""

from __future__ import annotations

import logging

from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectStore, ObjectStoreError
from control_plane.common.states import can_move, transition
from control_plane.speculators.models import Speculator, SpeculatorVersion, TrafficPolicy, VersionState
from control_plane.speculators.services import note_end_user_erasure, note_erasure, retire
from control_plane.tenants import audit
from control_plane.tenants.models import Project
from control_plane.tenants.placements import bump_generation
from control_plane.tenants.services import rotate_cache_salt
from control_plane.training.config import training_config
from control_plane.training.end_users import remove_end_users, segments_of, versions_of
from control_plane.training.models import OPEN, ErasureReceipt, TrafficSegment, TrainingRun
from control_plane.training.segments import SegmentError, traffic_prefix
from control_plane.training.services import cancel_run, discover_segments
from dataplane.contracts import end_user_id

logger = logging.getLogger(__name__)


@transaction.atomic
def request_erasure(project: Project, *, actor: str, request_id: str = "") -> ErasureReceipt:
    """Stop serving and learning from the project's traffic now; the objects themselves go with the next sweep.

    Traffic recorded until this moment never trains anything again, also if a node delivers it later; nodes drop their
    copies of the versions and what they remember of the project as soon as they see its new cache salt.
    Locks: the policy, runs, speculators, versions, the audit chain; as everywhere.
    """
    now = timezone.now()
    note_erasure(project, at=now)
    runs = TrainingRun.objects.filter(project=project, state__in=OPEN).order_by("id").select_for_update()
    open_runs = list(runs)
    list(Speculator.objects.filter(project=project).order_by("id").select_for_update())
    for run in open_runs:
        cancel_run(run, actor=actor, message="The traffic was deleted.")
    retired = []
    for version in SpeculatorVersion.objects.filter(project=project).order_by("number"):
        if not can_move(version, VersionState.RETIRED):
            continue
        try:
            retire(version, actor=actor, code="traffic_deleted", message="The traffic it learned from was deleted.")
        except Conflict:
            continue  # somebody has just retired it
        retired.append(version.id)
    receipt = ErasureReceipt.objects.create(
        organization_id=project.organization_id,
        project=project,
        requested_by=actor,
        requested_at=now,
        retired_versions=retired,
    )
    rotate_cache_salt(project)
    audit.record(
        project.organization_id,
        actor=actor,
        action="traffic.delete",
        target=project.id,
        changes={"receipt": receipt.id, "retired_versions": retired},
        request_id=request_id,
    )
    return receipt


@transaction.atomic
def request_end_user_erasure(project: Project, end_user: str, *, actor: str, request_id: str = "") -> ErasureReceipt:
    """Delete what one end user sent (`user` or `safety_identifier` of the requests), and what learned from it.

    The name is not stored: the receipt and the audit log have its id. Locks as `request_erasure`.
    """
    policy = note_end_user_erasure(project)
    now = timezone.now()
    identifier = end_user_id(policy.end_user_key, end_user)
    for run in TrainingRun.objects.filter(project=project, state__in=OPEN).order_by("id").select_for_update():
        cancel_run(run, actor=actor, message="An end user's traffic was deleted.")
    list(Speculator.objects.filter(project=project).order_by("id").select_for_update())
    tainted = versions_of(project.id, identifier)
    for version in tainted:
        if can_move(version, VersionState.RETIRED):
            retire(version, actor=actor, code="traffic_deleted", message="Traffic that it learned from was deleted.")
    receipt = ErasureReceipt.objects.create(
        organization_id=project.organization_id,
        project=project,
        end_user_id=identifier,
        requested_by=actor,
        requested_at=now,
        retired_versions=[version.id for version in tainted],
    )
    bump_generation(project.id)
    audit.record(
        project.organization_id,
        actor=actor,
        action="traffic.delete_end_user",
        target=project.id,
        changes={"receipt": receipt.id, "end_user_id": identifier, "retired_versions": receipt.retired_versions},
        request_id=request_id,
    )
    return receipt


def finish(receipt: ErasureReceipt, store: ObjectStore) -> ErasureReceipt:
    """Delete the objects; safe to repeat. Raises ObjectStoreError; the receipt then stays open."""
    if receipt.end_user_id:
        return _finish_end_user(receipt, store)
    prefix = traffic_prefix(receipt.project_id)
    doomed = [info.key for info in store.list(prefix) if info.modified_at <= receipt.requested_at]
    segments = TrafficSegment.objects.filter(project=receipt.project_id, first_at__lte=receipt.requested_at)
    records = sum(segments.values_list("records", flat=True))
    keys = sorted({*doomed, *segments.values_list("key", flat=True)})
    versions = SpeculatorVersion.objects.filter(project=receipt.project_id, state=VersionState.RETIRED)
    artifacts = [key for version in versions for key in (version.artifact_key, version.manifest_key)]
    store.delete_many(keys + artifacts)
    with transaction.atomic():
        segments.delete()
        for version in versions:
            transition(version, VersionState.PURGED, code="purged", message=f"Receipt {receipt.id}.")
        receipt.num_objects += len(keys) + len(artifacts)
        receipt.num_records += records
        receipt.completed_at = timezone.now()
        receipt.save(update_fields=["num_objects", "num_records", "completed_at"])
    return receipt


def _finish_end_user(receipt: ErasureReceipt, store: ObjectStore) -> ErasureReceipt:
    """Rewrite the objects that hold something of the end user's, and delete what learned from it."""
    policy = TrafficPolicy.objects.get(project=receipt.project_id)
    discover_segments(policy, store, lookback_days=training_config().lookback_days)
    objects = records = 0
    rows = segments_of(receipt.project_id, receipt.end_user_id).filter(first_at__lte=receipt.requested_at)
    for segment in rows.iterator():
        removed = remove_end_users(segment, {receipt.end_user_id: receipt.requested_at}, store)
        objects, records = objects + bool(removed), records + removed
    versions = SpeculatorVersion.objects.filter(project=receipt.project_id, id__in=receipt.retired_versions)
    versions = versions.filter(state=VersionState.RETIRED)
    artifacts = [key for version in versions for key in (version.artifact_key, version.manifest_key)]
    store.delete_many(artifacts)
    with transaction.atomic():
        for version in versions:
            transition(version, VersionState.PURGED, code="purged", message=f"Receipt {receipt.id}.")
        receipt.num_objects += objects + len(artifacts)
        receipt.num_records += records
        receipt.completed_at = timezone.now()
        receipt.save(update_fields=["num_objects", "num_records", "completed_at"])
    return receipt


def finish_open(store: ObjectStore) -> None:
    """Finish what is not finished; a store that is away is asked again at the next sweep."""
    for receipt in ErasureReceipt.objects.unscoped().filter(completed_at__isnull=True).order_by("requested_at"):
        try:
            finish(receipt, store)
        except (ObjectStoreError, SegmentError) as error:
            logger.warning("erasure %s is not complete yet: %s", receipt.id, error)
