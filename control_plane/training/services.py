"""Runs come and go: discovered traffic, scheduling, cancelling, sweeping, live regressions."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, Max, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from kombu.exceptions import OperationalError

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectStore
from control_plane.common.states import record_event, transition
from control_plane.endpoints.models import Endpoint, SpeculationWindow
from control_plane.speculators.models import Speculator, SpeculatorVersion, TrafficPolicy, VersionState
from control_plane.speculators.regression import LiveCounters, RegressionPolicy, judge, total
from control_plane.speculators.services import SYSTEM, ensure_speculator, rollback
from control_plane.training.config import MAX_ATTEMPTS, TrainingConfig
from control_plane.training.lease import leave_or_keep
from control_plane.training.models import LEASED, OPEN, RunState, TrafficSegment, TrainingRun
from control_plane.training.segments import (
    SegmentError,
    listing_start,
    read_metadata,
    segment_day,
    traffic_prefix,
)

logger = logging.getLogger(__name__)

MAX_BACKOFF_DOUBLINGS = 3
UPLOAD_ALLOWANCE = timedelta(minutes=15)
REGRESSION_WINDOW = timedelta(minutes=15)


# ------------------------------------------------------------------------------------------------------------ traffic


def discover_segments(policy: TrafficPolicy, store: ObjectStore, *, lookback_days: int) -> int:
    """Make rows of the project's new objects; returns how many. Safe to run twice, also at once.

    An object that holds deleted traffic, delivered late by a node, is deleted. One that can't be read is logged and
    left to retention.
    """
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
        _, is_new = TrafficSegment.objects.get_or_create(
            project_id=policy.project_id,
            key=key,
            defaults={
                "organization_id": policy.organization_id,
                "size_bytes": info.size_bytes,
                "records": metadata.records,
                "tokens": metadata.tokens,
                "first_at": metadata.first_at,
                "last_at": metadata.last_at,
            },
        )
        created += is_new
    return created


def enforce_retention(policy: TrafficPolicy, store: ObjectStore) -> int:
    """Delete the objects and rows of traffic older than the project allows; returns how many objects."""
    cutoff = timezone.now() - timedelta(days=policy.retention_days)
    expired = []
    for info in store.list(traffic_prefix(policy.project_id)):
        try:
            if segment_day(info.key) >= cutoff.date():
                break  # keys are in the order of days
        except SegmentError:
            if info.modified_at >= cutoff:
                continue
        expired.append(info.key)
    store.delete_many(expired)
    TrafficSegment.objects.filter(project=policy.project_id, key__in=expired).delete()
    return len(expired)


# --------------------------------------------------------------------------------------------------------------- runs


@transaction.atomic
def start_run(speculator: Speculator, *, trigger: str, actor: str) -> TrainingRun:
    """Queue a run. Raises Conflict if one is open, or without consent."""
    policy = TrafficPolicy.objects.filter(project=speculator.project_id).first()
    if policy is None or not policy.capture:
        raise Conflict("The project has not consented to training on its traffic.", code="no_consent")
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
    nudge(run.id)
    return run


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
def cancel_run(run: TrainingRun, *, actor: str, message: str = "Cancelled on request.") -> TrainingRun:
    """A queued run ends now, a running one as soon as its worker sees it. Raises Conflict when it has ended."""
    locked = TrainingRun.objects.select_for_update().get(project=run.project_id, pk=run.pk)
    if locked.state == RunState.QUEUED:
        return leave_or_keep(locked, RunState.CANCELLED, code="cancelled", message=message, actor=actor)
    if locked.state not in LEASED:
        raise Conflict(f"The run has ended ({locked.state}).", code="run_ended")
    if locked.cancel_requested_at is None:
        locked.cancel_requested_at = timezone.now()
        locked.save(update_fields=["cancel_requested_at"])
        record_event(locked, before=locked.state, code="cancel_requested", message=message, actor=actor)
    return locked


def schedule_runs(config: TrainingConfig) -> list[TrainingRun]:
    """Queue a run for each speculator with enough new traffic; whoever waited longest comes first.

    A speculator whose last runs brought nothing needs more traffic each time, up to 2^MAX_BACKOFF_DOUBLINGS as much.
    """
    _ensure_speculators()
    runs = TrainingRun.objects.unscoped().filter(speculator=OuterRef("pk"))
    segments = TrafficSegment.objects.unscoped().filter(project=OuterRef("project"), id__gt=OuterRef("seen"))
    due = (
        Speculator.objects.unscoped()
        .filter(~Exists(runs.filter(state__in=OPEN)), frozen=False, project__traffic_policy__capture=True)
        .annotate(
            seen=Coalesce(
                Subquery(runs.order_by().values("speculator").annotate(last=Max("last_segment_id")).values("last")), 0
            ),
            new_records=Coalesce(
                Subquery(segments.order_by().values("project").annotate(sum=Sum("records")).values("sum")), 0
            ),
            last_run_at=Subquery(runs.order_by("-created_at").values("created_at")[:1]),
        )
        .filter(new_records__gte=config.min_records)
        .order_by(F("last_run_at").asc(nulls_first=True))
    )
    started = []
    speculator: Any
    for speculator in due:
        if speculator.new_records >= config.min_records << min(_fruitless(speculator), MAX_BACKOFF_DOUBLINGS):
            try:
                started.append(start_run(speculator, trigger="traffic", actor=SYSTEM))
            except Conflict:
                continue  # another scheduler was faster, or the consent was withdrawn just now
    return started


def _fruitless(speculator: Speculator) -> int:
    """Runs since the last one that brought something."""
    recent = TrainingRun.objects.filter(project=speculator.project_id, speculator=speculator).order_by("-created_at")
    count = 0
    for state in recent.values_list("state", flat=True)[:MAX_BACKOFF_DOUBLINGS]:
        if state == RunState.SUCCEEDED:
            break
        count += state in (RunState.REJECTED, RunState.SKIPPED, RunState.FAILED)
    return count


def _ensure_speculators() -> None:
    """A speculator for each target model that a consenting project serves."""
    exists = Speculator.objects.unscoped().filter(project=OuterRef("project"), model=OuterRef("model"))
    missing = (
        Endpoint.objects.unscoped()
        .filter(~Exists(exists), project__traffic_policy__capture=True)
        .exclude(desired_state="deleted")
        .select_related("project")
        .order_by("project", "model")
        .distinct("project", "model")
    )
    for endpoint in missing:
        ensure_speculator(endpoint.project, endpoint.model_id)


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


# --------------------------------------------------------------------------------------------------------- regression


def watch_regressions(policy: RegressionPolicy) -> list[SpeculatorVersion]:
    """Roll back each active version whose live acceptance fell; returns those that were quarantined."""
    since = timezone.now() - REGRESSION_WINDOW
    fallen = []
    actives = SpeculatorVersion.objects.unscoped().filter(state=VersionState.ACTIVE, speculator__frozen=False)
    for version in actives.select_related("speculator"):
        endpoints = Endpoint.objects.filter(project=version.project_id, model=version.speculator.model_id)
        start = max(since, version.promoted_at or since)
        windows = SpeculationWindow.objects.filter(
            organization=version.organization_id, endpoint__in=endpoints.values("pk"), started_at__gte=start
        )
        verdict = judge(
            _counters(windows.filter(arm="adaptive", speculator_version_id=version.id)),
            _counters(windows.filter(arm="static")),
            evaluated=version.evaluation["candidate"]["acceptance_length"],
            evaluated_static=version.evaluation["static"]["acceptance_length"],
            policy=policy,
        )
        if not verdict.regressed:
            continue
        try:
            rollback(version.speculator, actor=SYSTEM, message=verdict.reason, quarantine=True, expected=version)
        except Conflict:
            continue  # somebody changed it meanwhile
        fallen.append(version)
    return fallen


def _counters(windows: QuerySet[SpeculationWindow]) -> LiveCounters:
    rows = windows.values_list("steps", "accepted", "per_position_accepted")
    return total(LiveCounters(steps, accepted, tuple(positions)) for steps, accepted, positions in rows)
