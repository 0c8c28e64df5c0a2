"""Deleting a project's traffic, and everything that learned from it. The receipt is the proof."""

from __future__ import annotations

import logging

from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectStore, ObjectStoreError
from control_plane.common.states import can_move, transition
from control_plane.speculators.models import Speculator, SpeculatorVersion, VersionState
from control_plane.speculators.services import note_erasure, retire
from control_plane.tenants import audit
from control_plane.tenants.models import Project
from control_plane.tenants.services import rotate_cache_salt
from control_plane.training.models import OPEN, ErasureReceipt, TrafficSegment, TrainingRun
from control_plane.training.segments import traffic_prefix
from control_plane.training.services import cancel_run

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


def finish(receipt: ErasureReceipt, store: ObjectStore) -> ErasureReceipt:
    """Delete the objects; safe to repeat. Raises ObjectStoreError; the receipt then stays open."""
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


def finish_open(store: ObjectStore) -> None:
    """Finish what is not finished; a store that is away is asked again at the next sweep."""
    for receipt in ErasureReceipt.objects.unscoped().filter(completed_at__isnull=True).order_by("requested_at"):
        try:
            finish(receipt, store)
        except ObjectStoreError as error:
            logger.warning("erasure %s is not complete yet: %s", receipt.id, error)
