"""Traffic and runs come and go: discovery, retention, starting, cancelling, sweeping."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectStore
from control_plane.common.states import record_event, transition
from control_plane.speculators.models import AdaptationKind, Speculator, SpeculatorVersion, TrafficPolicy, VersionState
from control_plane.speculators.timeline import note
from control_plane.tenants import audit
from control_plane.training.config import MAX_ATTEMPTS, training_config
from control_plane.training.end_users import erased_end_users, remove_end_users
from control_plane.training.fairness import Quotas
from control_plane.training.lease import leave_or_keep
from control_plane.training.models import LEASED, OPEN, RunState, TrafficSegment, TrainingRun
from control_plane.training.segments import (
    SegmentError,
    listing_start,
    read_metadata,
    segment_day,
    traffic_prefix,
)
from control_plane.training.selectors import TrainingUsed, training_used

logger = logging.getLogger(__name__)

UPLOAD_ALLOWANCE = timedelta(minutes=15)


# ------------------------------------------------------------------------------------------------------------ traffic


def discover_segments(policy: TrafficPolicy, store: ObjectStore, *, lookback_days: int) -> int:
    """Make rows of the project's new objects; returns how many. Safe to run twice, also at once.

    An object that holds deleted traffic, delivered late by a node, is deleted. One that can't be read is logged and
    left to retention. Deleted end users' records are taken out of what arrives late.
    """
    erased = erased_end_users(policy, lookback_days=lookback_days)
    prefix = traffic_prefix(policy.project_id)
    after = listing_start(policy.project_id, today=timezone.now().date(), lookback_days=lookback_days)
    found = [info.key for info in store.list(prefix, after=after)]
    known = set(TrafficSegment.objects.filter(project=policy.project_id, key__in=found).values_list("key", flat=True))
    created = 0
    for key in found:
        if key in known:
            continue
        try:
            segment_day(key)
            info = store.head(key)
            metadata = read_metadata(info.metadata)
        except SegmentError as error:
            logger.warning("segment left alone: %s: %s", key, error)
            continue
        if policy.erased_before is not None and metadata.first_at <= policy.erased_before:
            store.delete(key)
            continue
        segment, is_new = TrafficSegment.objects.get_or_create(
            project_id=policy.project_id,
            key=key,
            defaults={
                "organization_id": policy.organization_id,
                "size_bytes": info.size_bytes,
                "records": metadata.records,
                "tokens": metadata.tokens,
                "first_at": metadata.first_at,
                "last_at": metadata.last_at,
                "consent": metadata.consent,
                "end_users": metadata.end_users,
            },
        )
        if concerned := {name: at for name, at in erased.items() if at >= segment.first_at}:
            remove_end_users(segment, concerned, store)
        created += is_new
    return created


def enforce_retention(policy: TrafficPolicy, store: ObjectStore) -> int:
    """Delete the objects and rows of traffic older than the project allows; returns how many objects."""
    cutoff = timezone.now() - timedelta(days=policy.retention_days)
    # Known ones by the moment; what nobody has listed yet, by the day of its key.
    rows = TrafficSegment.objects.filter(project=policy.project_id, last_at__lt=cutoff)
    expired = list(rows.values_list("key", flat=True))
    for info in store.list(traffic_prefix(policy.project_id)):
        try:
            if segment_day(info.key) >= cutoff.date():
                break  # keys are in the order of days
        except SegmentError:
            if info.modified_at >= cutoff:
                continue
        expired.append(info.key)
    expired = sorted(set(expired))
    store.delete_many(expired)
    TrafficSegment.objects.filter(project=policy.project_id, key__in=expired).delete()
    return len(expired)


# --------------------------------------------------------------------------------------------------------------- runs


@transaction.atomic
def start_run(
    speculator: Speculator, *, trigger: str, actor: str, quotas: Quotas | None = None, request_id: str = ""
) -> TrainingRun:
    """Queue a run. Raises Conflict if one is open, without consent, or when the project has had its share of a day."""
    policy = TrafficPolicy.objects.filter(project=speculator.project_id).first()
    if policy is None or not policy.capture:
        raise Conflict("The project has not consented to training on its traffic.", code="no_consent")
    used = training_used(speculator.project_id)
    if (refusal := over_quota(used, quotas or training_config().quotas)) is not None:
        raise Conflict(refusal, code="training_quota")
    try:
        with transaction.atomic():
            run = TrainingRun.objects.create(
                organization_id=speculator.organization_id,
                project_id=speculator.project_id,
                speculator=speculator,
                trigger=trigger,
                state=RunState.QUEUED,
                state_code=trigger,
            )
    except IntegrityError as error:
        raise Conflict("A training run of this speculator is not finished yet.", code="run_open") from error
    record_event(run, before="", code=trigger, actor=actor)
    kind = AdaptationKind.DRIFT if trigger == "drift" else AdaptationKind.QUEUED
    note(speculator, kind, f"Training was queued ({trigger}).", training_run_id=run.id, actor=actor)
    audit.record(
        speculator.organization_id,
        actor=actor,
        action="training_run.start",
        target=run.id,
        changes={"trigger": trigger},
        request_id=request_id,
    )
    nudge(run.id)
    return run


def over_quota(used: TrainingUsed, quotas: Quotas) -> str | None:
    """Why the project may start no run now, in a sentence; None if it may. A share counts over the last 24 hours."""
    if used.runs >= quotas.project_runs_per_day:
        return f"The project has started {used.runs} runs in 24 hours, of {quotas.project_runs_per_day} that it may."
    if used.seconds >= quotas.project_seconds_per_day:
        return f"The project has trained {used.seconds} s in 24 hours, of {quotas.project_seconds_per_day} that it may."
    return None


def nudge(run_id: str) -> None:
    """Tell a worker after the commit. A lost message costs time, not the run: the sweep nudges again."""
    from control_plane.training.tasks import execute_run

    transaction.on_commit(lambda: _send(execute_run, run_id))


def _send(task: Any, argument: str) -> None:
    try:
        task.apply_async([argument], retry=False)
    except OperationalError as error:  # the broker is away
        logger.warning("could not nudge %s: %s", argument, error)


@transaction.atomic
def cancel_run(
    run: TrainingRun, *, actor: str, message: str = "Cancelled on request.", request_id: str = ""
) -> TrainingRun:
    """A queued run ends now, a running one as soon as its worker sees it. Raises Conflict when it has ended."""
    locked = TrainingRun.objects.select_for_update().get(project=run.project_id, pk=run.pk)
    if locked.state in OPEN and locked.cancel_requested_at is None:
        action = "training_run.cancel"
        audit.record(run.organization_id, actor=actor, action=action, target=run.id, request_id=request_id)
    if locked.state == RunState.QUEUED:
        return leave_or_keep(locked, RunState.CANCELLED, code="cancelled", message=message, actor=actor)
    if locked.state not in LEASED:
        raise Conflict(f"The run has ended ({locked.state}).", code="run_ended")
    if locked.cancel_requested_at is None:
        locked.cancel_requested_at = timezone.now()
        locked.save(update_fields=["cancel_requested_at"])
        record_event(locked, before=locked.state, code="cancel_requested", message=message, actor=actor)
    return locked


def sweep() -> list[str]:
    """Re-queue (or, after MAX_ATTEMPTS, fail) runs whose worker went silent; returns what should be nudged."""
    now = timezone.now()
    with transaction.atomic():
        lost = (
            TrainingRun.objects.unscoped()
            .filter(lease_token__isnull=False, lease_expires_at__lt=now)
            .select_for_update(skip_locked=True)
        )
        for run in lost:
            if run.cancel_requested_at is not None:
                leave_or_keep(run, RunState.CANCELLED, code="cancelled", message="Cancelled while its worker was away.")
            elif run.attempts >= MAX_ATTEMPTS:
                message = f"The worker was lost {run.attempts} times, the last time in {run.state}."
                leave_or_keep(run, RunState.FAILED, code="worker_lost", message=message)
            else:
                message = f"The worker went silent in {run.state}; attempt {run.attempts} of {MAX_ATTEMPTS}."
                leave_or_keep(run, RunState.QUEUED, code="lease_lost", message=message)
    abandoned = SpeculatorVersion.objects.unscoped().filter(
        state__in=(VersionState.UPLOADING, VersionState.VERIFYING), created_at__lt=now - UPLOAD_ALLOWANCE
    )
    for version in abandoned:
        transition(version, VersionState.REJECTED, code="upload_abandoned", message="Its run ended during the upload.")
    waiting = TrainingRun.objects.unscoped().filter(state=RunState.QUEUED).order_by("state_changed_at")
    return list(waiting.values_list("id", flat=True))
