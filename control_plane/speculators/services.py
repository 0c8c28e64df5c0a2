"""Consent, and which version serves. All writes of this app.

Locks are taken in one order: the traffic policy, training runs, the speculator, its versions, the snapshot generation,
the audit chain. Everything that nodes must know bumps the project's generation in the same transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from control_plane.common.errors import Conflict, Invalid
from control_plane.common.ids import new_id
from control_plane.common.states import record_event, transition
from control_plane.speculators.manifest import SigningKey, artifact_key, encode, manifest_key, sign
from control_plane.speculators.models import (
    COALESCE_BOUNDS,
    COALESCING,
    MAX_RETENTION_DAYS,
    MEMORY_SCOPES,
    PROMOTABLE,
    REDACTIONS,
    AdaptationKind,
    Speculator,
    SpeculatorVersion,
    TrafficPolicy,
    VersionState,
)
from control_plane.speculators.selectors import active_version
from control_plane.speculators.timeline import note
from control_plane.tenants import audit
from control_plane.tenants.models import Project
from control_plane.tenants.placements import bump_generation
from dataplane.contracts import ArtifactFile, Manifest, SignedManifest

SYSTEM = "system"
POLICY_CHOICES = {"redaction": REDACTIONS, "memory_scope": MEMORY_SCOPES, "stream_coalescing": COALESCING}


# ------------------------------------------------------------------------------------------------------------ consent


@transaction.atomic
def set_traffic_policy(
    project: Project,
    *,
    capture: bool,
    sample_rate: float,
    retention_days: int,
    redaction: str = "drop",
    memory_scope: str = "project",
    stream_coalescing: str = "none",
    coalesce_tokens: int = 16,
    coalesce_milliseconds: int = 100,
    actor: str,
    request_id: str = "",
) -> TrafficPolicy:
    """Replace a project's data policy. Turning capture off stops collection now; deleting is a request of its own.

    Raises Invalid with the field's name.
    """
    if not 0.0 <= sample_rate <= 1.0:
        raise Invalid("The sample rate must lie between 0 and 1.", pointer="/sample_rate")
    if not 1 <= retention_days <= MAX_RETENTION_DAYS:
        raise Invalid(f"Retention must be 1 to {MAX_RETENTION_DAYS} days.", pointer="/retention_days")
    chosen = {"redaction": redaction, "memory_scope": memory_scope, "stream_coalescing": stream_coalescing}
    for name, value in chosen.items():
        if value not in POLICY_CHOICES[name]:
            raise Invalid(f"This must be one of {', '.join(POLICY_CHOICES[name])}.", pointer=f"/{name}")
    parts = {"coalesce_tokens": coalesce_tokens, "coalesce_milliseconds": coalesce_milliseconds}
    for name, number in parts.items():
        low, high = COALESCE_BOUNDS[name]
        if not low <= number <= high:
            raise Invalid(f"This must lie between {low} and {high}.", pointer=f"/{name}")
    policy, _ = TrafficPolicy.objects.select_for_update().get_or_create(
        project=project, defaults={"organization_id": project.organization_id}
    )
    wanted: dict[str, Any] = {"capture": capture, "sample_rate": sample_rate, "retention_days": retention_days}
    wanted |= chosen | parts
    changes = {name: [getattr(policy, name), value] for name, value in wanted.items() if getattr(policy, name) != value}
    if not changes:
        return policy
    for name, value in wanted.items():
        setattr(policy, name, value)
    policy.save()
    bump_generation(project.id)
    audit.record(
        project.organization_id,
        actor=actor,
        action="traffic_policy.update",
        target=project.id,
        changes=changes,
        request_id=request_id,
    )
    return policy


@transaction.atomic
def note_erasure(project: Project, *, at: datetime) -> None:
    """From now on, traffic recorded before `at` counts as deleted, also when a node delivers it later."""
    TrafficPolicy.objects.update_or_create(
        project=project, defaults={"erased_before": at, "organization_id": project.organization_id}
    )


@transaction.atomic
def note_end_user_erasure(project: Project) -> TrafficPolicy:
    """Nodes forget what the project's memory learned and what they have not sent; returns the policy with its key."""
    policy, _ = TrafficPolicy.objects.select_for_update().get_or_create(
        project=project, defaults={"organization_id": project.organization_id}
    )
    policy.end_user_erasures += 1
    policy.save(update_fields=["end_user_erasures"])
    return policy


# -------------------------------------------------------------------------------------------------------- speculators


def ensure_speculator(project: Project, model_id: str) -> Speculator:
    """The project's speculator for a target model; made when first asked for."""
    speculator, _ = Speculator.objects.get_or_create(
        project=project, model_id=model_id, defaults={"organization_id": project.organization_id}
    )
    return speculator


@transaction.atomic
def set_frozen(speculator: Speculator, frozen: bool, *, actor: str, request_id: str = "") -> Speculator:
    """Freeze (no training, no automatic change) or thaw."""
    locked = _lock(speculator)
    if locked.frozen != frozen:
        locked.frozen = frozen
        locked.save(update_fields=["frozen"])
        note(locked, AdaptationKind.FROZEN if frozen else AdaptationKind.THAWED, actor=actor)
        _audit(locked, actor, "speculator.freeze" if frozen else "speculator.thaw", request_id=request_id)
    return locked


# ----------------------------------------------------------------------------------------------------------- versions


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained delta and where it came from."""

    sha256: str
    size_bytes: int
    static_sha256: str
    training_run_id: str | None
    parent: SpeculatorVersion | None
    sample_count: int
    window_start: datetime | None
    window_end: datetime | None
    consent: Mapping[str, Any]
    lineage: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    gate: Mapping[str, Any]


@transaction.atomic
def create_version(
    speculator: Speculator, artifact: Artifact, *, key: SigningKey
) -> tuple[SpeculatorVersion, SignedManifest]:
    """A new version in state `uploading`, with the signed manifest that must be uploaded beside its artifact."""
    locked = _lock(speculator)
    number = locked.next_number
    Speculator.objects.filter(project=locked.project_id, pk=locked.pk).update(next_number=F("next_number") + 1)
    version_id, now = new_id("spv"), timezone.now()
    file = ArtifactFile(artifact_key(locked.project_id, artifact.sha256), artifact.sha256, artifact.size_bytes)
    manifest = Manifest(
        speculator_version_id=version_id,
        speculator_id=locked.id,
        project_id=locked.project_id,
        number=number,
        target_model=locked.model_id,
        static_sha256=artifact.static_sha256,
        file=file,
        created_at=now.isoformat().replace("+00:00", "Z"),
        parent_version_id=artifact.parent.id if artifact.parent else None,
        training_run_id=artifact.training_run_id,
        sample_count=artifact.sample_count,
        window_start=artifact.window_start.isoformat() if artifact.window_start else None,
        window_end=artifact.window_end.isoformat() if artifact.window_end else None,
    )
    signed = sign(manifest, key)
    version = SpeculatorVersion.objects.create(
        id=version_id,
        organization_id=locked.organization_id,
        project_id=locked.project_id,
        speculator=locked,
        number=number,
        state=VersionState.UPLOADING,
        parent=artifact.parent,
        training_run_id=artifact.training_run_id,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        static_sha256=artifact.static_sha256,
        artifact_key=file.key,
        manifest_key=manifest_key(locked.project_id, version_id),
        manifest_sha256=hashlib.sha256(encode(signed)).hexdigest(),
        sample_count=artifact.sample_count,
        window_start=artifact.window_start,
        window_end=artifact.window_end,
        consent=dict(artifact.consent),
        lineage=dict(artifact.lineage),
        evaluation=dict(artifact.evaluation),
        gate=dict(artifact.gate),
        created_at=now,
    )
    record_event(version, before="", code="created")
    return version, signed


@transaction.atomic
def promote(
    version: SpeculatorVersion,
    *,
    actor: str,
    code: str = "promoted",
    message: str = "",
    request_id: str = "",
    on_trial: bool = False,
) -> SpeculatorVersion:
    """Make the version the one that serves; the one before it is superseded. Promoting the active one is a no-op.

    on_trial: it is a canary whose rollout has completed (canary.py).
    """
    speculator = _lock(version.speculator)
    version.refresh_from_db()
    if version.state == VersionState.ACTIVE:
        return version
    if version.state not in PROMOTABLE and not (on_trial and version.state == VersionState.CANARY):
        raise Conflict(f"A version that is {version.state} can't be promoted.", code="illegal_transition")
    before = active_version(speculator)
    if before is not None:
        transition(
            before, VersionState.SUPERSEDED, code="superseded", message=f"By version {version.number}.", actor=actor
        )
    transition(version, VersionState.ACTIVE, code=code, message=message, actor=actor, promoted_at=timezone.now())
    note(speculator, AdaptationKind.PROMOTED, message or "Promoted.", version=version, actor=actor)
    _changed(speculator, actor, "speculator.promote", before, version, request_id)
    return version


@transaction.atomic
def rollback(
    speculator: Speculator,
    *,
    actor: str,
    message: str,
    quarantine: bool = False,
    expected: SpeculatorVersion | None = None,
    request_id: str = "",
) -> SpeculatorVersion | None:
    """Take the active version out of service and return the one that serves now: the last good one before it, or None.

    quarantine: it never comes back (a live regression). expected: do nothing unless this one is still active.
    Raises Conflict when nothing is active.
    """
    locked = _lock(speculator)
    current = active_version(locked)
    if current is None or (expected is not None and current.pk != expected.pk):
        raise Conflict("There is no active version to roll back.", code="nothing_active")
    previous = (
        SpeculatorVersion.objects.filter(
            project=locked.project_id, speculator=locked, state=VersionState.SUPERSEDED, number__lt=current.number
        )
        .order_by("-number")
        .first()
    )
    to = VersionState.QUARANTINED if quarantine else VersionState.SUPERSEDED
    transition(current, to, code="regressed" if quarantine else "rolled_back", message=message, actor=actor)
    kind = AdaptationKind.REGRESSED if quarantine else AdaptationKind.ROLLED_BACK
    note(locked, kind, message, version=current, actor=actor)
    if previous is not None:
        transition(
            previous,
            VersionState.ACTIVE,
            code="restored",
            message=f"Version {current.number} was rolled back.",
            actor=actor,
            promoted_at=timezone.now(),
        )
    _changed(locked, actor, "speculator.rollback", current, previous, request_id, message=message)
    return previous


@transaction.atomic
def pin(version: SpeculatorVersion, *, actor: str, request_id: str = "") -> SpeculatorVersion:
    """Serve this version and keep it: promote, then freeze the speculator."""
    promoted = promote(version, actor=actor, code="pinned", request_id=request_id)
    set_frozen(version.speculator, True, actor=actor, request_id=request_id)
    return promoted


@transaction.atomic
def retire(
    version: SpeculatorVersion, *, actor: str, code: str, message: str, request_id: str = ""
) -> SpeculatorVersion:
    """The version never serves again. If it was active, the static speculator takes over.

    Raises Conflict from a state that has no way there: it is retired already, or purged.
    """
    speculator = _lock(version.speculator)
    version.refresh_from_db()
    was_active = version.state == VersionState.ACTIVE
    transition(version, VersionState.RETIRED, code=code, message=message, actor=actor)
    note(speculator, AdaptationKind.RETIRED, message, version=version, actor=actor)
    if was_active:
        _changed(speculator, actor, "speculator.retire", version, None, request_id, message=message)
    else:
        _audit(speculator, actor, "speculator.retire", {"version": version.id, "reason": message}, request_id)
    return version


def _lock(speculator: Speculator) -> Speculator:
    return Speculator.objects.select_for_update().get(project=speculator.project_id, pk=speculator.pk)


def _changed(
    speculator: Speculator,
    actor: str,
    action: str,
    before: SpeculatorVersion | None,
    after: SpeculatorVersion | None,
    request_id: str,
    *,
    message: str = "",
) -> None:
    changes: dict[str, Any] = {"active_version": [before and before.id, after and after.id]}
    if message:
        changes["reason"] = message
    bump_generation(speculator.project_id)
    _audit(speculator, actor, action, changes, request_id)


def _audit(
    speculator: Speculator, actor: str, action: str, changes: dict[str, Any] | None = None, request_id: str = ""
) -> None:
    audit.record(
        speculator.organization_id,
        actor=actor,
        action=action,
        target=speculator.id,
        changes=changes,
        request_id=request_id,
    )
