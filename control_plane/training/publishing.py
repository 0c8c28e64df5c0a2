"""From an accepted delta to a version that nodes load: upload, verify, promote."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import transaction

from control_plane.common.errors import Conflict
from control_plane.common.object_store import ObjectStore
from control_plane.common.states import can_move, record_event, transition
from control_plane.speculators import canary
from control_plane.speculators.manifest import encode, signing_key
from control_plane.speculators.models import AdaptationKind, Speculator, SpeculatorVersion, TrafficPolicy, VersionState
from control_plane.speculators.selectors import active_version
from control_plane.speculators.services import SYSTEM, Artifact, create_version, promote
from control_plane.speculators.timeline import note
from control_plane.training.gate import GateDecision, length_interval
from control_plane.training.lease import Cancelled, Lease
from control_plane.training.models import RunState, TrainingRun
from dataplane.contracts import TrainingReport, to_dict

MAX_HEADER_BYTES = 1 << 20
MAX_ARTIFACT_BYTES = 256 << 20


class PublishingError(Exception):
    """The artifact is not what the report says, or not what the store gave back."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def publish(
    run: TrainingRun, lease: Lease, *, report: TrainingReport, decision: GateDecision, delta: Path, store: ObjectStore
) -> None:
    """Upload by digest, make the immutable version, read back what was stored, and let it go live.

    Every upload is put-if-absent under a name that says what it is, so a repeated attempt changes nothing.
    Raises PublishingError, ObjectStoreError, LeaseLost, Cancelled.
    """
    body = _read_artifact(delta, report)
    speculator = run.speculator
    version, manifest = create_version(
        speculator,
        Artifact(
            sha256=report.delta_sha256 or "",
            size_bytes=len(body),
            static_sha256=static_digest(body),
            training_run_id=run.id,
            parent=run.incumbent,
            sample_count=report.num_train_records,
            window_start=_time(report.window_start),
            window_end=_time(report.window_end),
            consent=run.consent,
            lineage=run.lineage,
            evaluation=_evaluation(report, decision),
            gate=to_dict(decision),
        ),
        key=signing_key(),
    )
    try:
        _upload(version, body, encode(manifest), store)
        lease.heartbeat(phase="publishing")
        transition(version, VersionState.ELIGIBLE, code=decision.code, message=decision.reason)
        _go_live(run, lease, version, decision)
    except Cancelled:
        _discard(version, store)
        raise
    except Conflict as error:
        version.refresh_from_db(fields=["state"])
        if version.state not in (VersionState.RETIRED, VersionState.PURGED):
            raise
        _discard(version, store)  # an erasure was faster than the upload
        raise Cancelled(run.id) from error


def _evaluation(report: TrainingReport, decision: GateDecision) -> dict[str, Any]:
    """The held-out replay by arm, each with the bounds of its acceptance length at the gate's confidence."""
    assert decision.thresholds is not None
    return {
        name: to_dict(arm) | {"interval": length_interval(arm.per_record_acceptance_length, policy=decision.thresholds)}
        for name, arm in report.arms.items()
    }


def _upload(version: SpeculatorVersion, artifact: bytes, manifest: bytes, store: ObjectStore) -> None:
    """Put both objects and read them back. Raises PublishingError when the store gives back other bytes."""
    store.put_if_absent(version.artifact_key, artifact)
    store.put_if_absent(version.manifest_key, manifest)
    transition(version, VersionState.VERIFYING, code="uploaded")
    if (_digest(store, version.artifact_key), _digest(store, version.manifest_key)) != (
        version.sha256,
        version.manifest_sha256,
    ):
        transition(version, VersionState.QUARANTINED, code="damaged", message="The store gave back other bytes.")
        raise PublishingError("damaged_upload", "The object store gave back other bytes than were uploaded.")


def _discard(version: SpeculatorVersion, store: ObjectStore) -> None:
    """The consent went away while the version was on its way: nothing of it stays."""
    store.delete_many([version.artifact_key, version.manifest_key])
    version.refresh_from_db()
    if can_move(version, VersionState.RETIRED):
        transition(version, VersionState.RETIRED, code="cancelled", message="Its run was cancelled.")
    if can_move(version, VersionState.PURGED):
        transition(version, VersionState.PURGED, code="purged")


@transaction.atomic
def _go_live(run: TrainingRun, lease: Lease, version: SpeculatorVersion, decision: GateDecision) -> None:
    """Promote and finish the run together, unless the world changed while it trained."""
    policy = TrafficPolicy.objects.filter(project=run.project_id).select_for_update().first()
    started = run.started_at
    if policy is None or not policy.capture or (policy.erased_before and started and policy.erased_before > started):
        raise Cancelled(run.id)
    lease.hold()
    speculator = Speculator.objects.select_for_update().get(project=run.project_id, pk=run.speculator_id)
    current = active_version(speculator)
    note(speculator, AdaptationKind.TRAINED, decision.reason, version=version, training_run_id=run.id)
    if speculator.frozen:
        code, message = "frozen", f"{decision.reason} Not promoted: the speculator is frozen."
    elif speculator.promotion == "manual":
        code, message = "waiting_for_promotion", f"{decision.reason} Waiting for you: promotion is by hand."
        record_event(version, before=version.state, code=code, message=message)
        note(speculator, AdaptationKind.WAITING, message, version=version, training_run_id=run.id)
    elif (current and current.pk) != run.incumbent_id:
        code, message = "superseded", f"{decision.reason} Not promoted: another version went live during the run."
    elif speculator.strategy == "canary":
        code, message = _try(run, version, decision)
    else:
        promote(version, actor=SYSTEM, code=decision.code, message=decision.reason)
        code, message = decision.code, decision.reason
    lease.move(RunState.SUCCEEDED, code=code, message=message, version=version)


def _try(run: TrainingRun, version: SpeculatorVersion, decision: GateDecision) -> tuple[str, str]:
    """Let the version prove itself on some of the traffic; where a rollout is open already, it waits for a person."""
    try:
        canary.start(version, actor=SYSTEM, code=decision.code, message=decision.reason)
    except Conflict as error:
        version.refresh_from_db(fields=["state"])
        message = f"{decision.reason} Waiting for you: {error.detail}"
        record_event(version, before=version.state, code=error.code, message=message)
        note(run.speculator, AdaptationKind.WAITING, message, version=version, training_run_id=run.id)
        return error.code, message
    return decision.code, decision.reason


def static_digest(artifact: bytes) -> str:
    """The digest of the static drafter that a delta belongs to, from its safetensors header. Raises PublishingError."""
    try:
        size = int.from_bytes(artifact[:8], "little")
        if size > MAX_HEADER_BYTES:
            raise ValueError("the header is too large")
        digest = json.loads(artifact[8 : 8 + size])["__metadata__"]["static_sha256"]
        if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError("static_sha256 is no digest")
    except (ValueError, KeyError, TypeError) as error:
        raise PublishingError("bad_artifact", f"The delta is no safetensors file with its metadata: {error}") from error
    return digest


def _read_artifact(delta: Path, report: TrainingReport) -> bytes:
    try:
        if delta.is_symlink() or not delta.is_file() or delta.stat().st_size > MAX_ARTIFACT_BYTES:
            raise PublishingError("bad_artifact", "The delta is no plain file of a sensible size.")
        body = delta.read_bytes()
    except OSError as error:
        raise PublishingError("bad_artifact", f"The delta can't be read: {error}") from error
    if hashlib.sha256(body).hexdigest() != report.delta_sha256:
        raise PublishingError("bad_artifact", "The delta is not the one that the report names.")
    return body


def _digest(store: ObjectStore, key: str) -> str:
    return hashlib.sha256(store.get(key)).hexdigest()


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise PublishingError("bad_report", f"The report's window is no time: {error}") from error
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time
