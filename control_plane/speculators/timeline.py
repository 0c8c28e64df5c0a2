"""A speculator's history in one list, written in the transaction of what happened."""

from __future__ import annotations

from django.db.models import QuerySet

from control_plane.speculators.models import AdaptationEvent, AdaptationKind, Speculator, SpeculatorVersion


def note(
    speculator: Speculator,
    kind: AdaptationKind,
    message: str = "",
    *,
    version: SpeculatorVersion | None = None,
    training_run_id: str | None = None,
    actor: str = "system",
) -> AdaptationEvent:
    """Append a line; a longer message is cut at 500 characters."""
    event: AdaptationEvent = AdaptationEvent.objects.create(
        organization_id=speculator.organization_id,
        project_id=speculator.project_id,
        speculator=speculator,
        kind=kind,
        message=message[:500],
        version=version,
        training_run_id=training_run_id,
        actor=actor,
    )
    return event


def history(speculator: Speculator) -> QuerySet[AdaptationEvent]:
    """Newest first."""
    return AdaptationEvent.objects.filter(project=speculator.project_id, speculator=speculator).order_by("-id")
