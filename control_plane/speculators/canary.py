"""Promotion by canary: a version proves itself on a share of one endpoint's requests before it serves all.

The endpoint with the most traffic gets a deployment that names the version. When its rollout has completed, the version
is promoted, and the endpoint's own deployment, which follows the promoted version, has all requests again: the canary
was a rehearsal. When it was aborted because it served worse, the version is quarantined.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.common.states import transition
from control_plane.endpoints import deployments, rollouts
from control_plane.endpoints.models import Endpoint, Rollout
from control_plane.endpoints.rollout_plan import DEFAULTS, Move, Plan
from control_plane.speculators.models import (
    PROMOTABLE,
    AdaptationKind,
    Speculator,
    SpeculatorVersion,
    VersionState,
)
from control_plane.speculators.services import SYSTEM, promote
from control_plane.speculators.timeline import note

RECENT = timedelta(days=1)
# Ends of a rollout that say something against the version; others (a person's wish, a stop) don't.
_AGAINST = ("regressed", "refused")


@transaction.atomic
def start(
    version: SpeculatorVersion,
    plan: Plan = DEFAULTS["canary"],
    *,
    actor: str,
    code: str = "promoted",
    message: str = "",
    request_id: str = "",
) -> SpeculatorVersion:
    """Begin the canary; without any traffic to try it on, promote at once. Raises Conflict as `promote` and
    `rollouts.start` do."""
    speculator = _lock(version.speculator)
    version.refresh_from_db()
    if version.state not in PROMOTABLE:
        raise Conflict(f"A version that is {version.state} can't be promoted.", code="illegal_transition")
    if SpeculatorVersion.objects.filter(
        project=version.project_id, speculator=speculator, state=VersionState.CANARY
    ).exists():
        raise Conflict("Another version is being tried.", code="canary_open")
    endpoint = _stage(speculator)
    if endpoint is None or version.state != VersionState.ELIGIBLE:  # a superseded one has proved itself already
        return promote(version, actor=actor, code=code, message=message, request_id=request_id)
    spec = deployments.specification(deployments.active_deployment(endpoint))
    rollout = rollouts.start(
        endpoint,
        replace(spec, speculator_version_id=version.id),
        plan,
        actor=actor,
        trigger="promotion",
        request_id=request_id,
    )
    said = f"On trial at {endpoint.name} ({rollout.id})."
    transition(version, VersionState.CANARY, code="canary", message=said, actor=actor)
    note(speculator, AdaptationKind.CANARY, said, version=version, actor=actor)
    return version


def _stage(speculator: Speculator) -> Endpoint | None:
    """The endpoint that shows most: it runs, drafts with whatever is promoted, and has the most recent requests."""
    follows = Q(deployments__active=True, deployments__speculator_version_id=None)
    busy = Sum("windows__requests", filter=Q(windows__ended_at__gte=timezone.now() - RECENT), default=0)
    rows = Endpoint.objects.filter(project=speculator.project_id, model=speculator.model_id, desired_state="running")
    found = rows.filter(follows, state__in=["ready", "degraded", "updating"], speculation_mode="adaptive")
    return found.annotate(recent=busy).filter(recent__gt=0).order_by("-recent", "id").first()


def lock(rollout: Rollout) -> None:
    """The speculator whose version the rollout tries: before the endpoint, as everywhere."""
    speculators = Speculator.objects.filter(project=rollout.project_id, model=rollout.endpoint.model_id)
    list(speculators.select_for_update().order_by("id"))


def conclude(rollout: Rollout, move: Move) -> None:
    """What the rollout's end means for its version; in the transaction of that end."""
    versions = SpeculatorVersion.objects.filter(project=rollout.project_id).select_related("speculator")
    version = versions.filter(pk=rollout.target.speculator_version_id, state=VersionState.CANARY).first()
    if version is None:  # retired or purged meanwhile
        return
    if move.state == "completed":
        promote(version, actor=SYSTEM, code="canary_passed", message=move.message, on_trial=True)
    elif move.code in _AGAINST:
        transition(version, VersionState.QUARANTINED, code=move.code, message=move.message)
        note(version.speculator, AdaptationKind.REGRESSED, move.message, version=version)
    else:
        transition(version, VersionState.ELIGIBLE, code=move.code, message=move.message)


def _lock(speculator: Speculator) -> Speculator:
    return Speculator.objects.select_for_update().get(project=speculator.project_id, pk=speculator.pk)
