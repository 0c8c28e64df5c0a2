"""How a speculator adapts: who promotes and how, what the gate asks for, when it is trained by the clock."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from django.db import transaction

from control_plane.common.errors import Invalid
from control_plane.speculators.models import POLICY_BOUNDS, PROMOTIONS, STRATEGIES, AdaptationKind, Speculator
from control_plane.speculators.timeline import note
from control_plane.tenants import audit


@dataclass(frozen=True, slots=True)
class SpeculatorPolicy:
    """None: the service's default, as it is when a run is judged. Bounds: `models.POLICY_BOUNDS`."""

    promotion: str = "auto"  # manual: a version that passed the gate waits for a person
    strategy: str = "immediate"  # canary: a promotion shifts traffic step by step, and is taken back if it serves worse
    min_gain: float | None = None  # share of target forwards that a candidate must save at least
    confidence: float | None = None  # of that statement, one-sided
    min_heldout_records: int | None = None  # fewer measure nothing
    max_drop: float | None = None  # share of the evaluated acceptance length that may be lost in service
    every_hours: int | None = None  # train by the clock, if there is anything new


FIELDS = tuple(field.name for field in dataclasses.fields(SpeculatorPolicy))


def policy_of(speculator: Speculator) -> SpeculatorPolicy:
    return SpeculatorPolicy(**{name: getattr(speculator, name) for name in FIELDS})


@transaction.atomic
def set_policy(
    speculator: Speculator, policy: SpeculatorPolicy, *, actor: str, request_id: str = ""
) -> SpeculatorPolicy:
    """Replace the policy. Runs that are judged from now on keep to it. Raises Invalid with the field's name."""
    _check(policy)
    locked = Speculator.objects.select_for_update().get(project=speculator.project_id, pk=speculator.pk)
    changes = {
        name: [getattr(locked, name), getattr(policy, name)]
        for name in FIELDS
        if getattr(locked, name) != getattr(policy, name)
    }
    if not changes:
        return policy
    Speculator.objects.filter(project=locked.project_id, pk=locked.pk).update(**dataclasses.asdict(policy))
    speculator.refresh_from_db(fields=FIELDS)
    described = ", ".join(f"{name}: {_shown(value)}" for name, (_, value) in changes.items())
    note(locked, AdaptationKind.POLICY, f"Policy changed: {described}.", actor=actor)
    audit.record(
        locked.organization_id,
        actor=actor,
        action="speculator.policy",
        target=locked.id,
        changes=changes,
        request_id=request_id,
    )
    return policy


def _check(policy: SpeculatorPolicy) -> None:
    for name, choices in (("promotion", PROMOTIONS), ("strategy", STRATEGIES)):
        if getattr(policy, name) not in choices:
            raise Invalid(f"This must be one of {', '.join(choices)}.", pointer=f"/{name}")
    for name, (low, high) in POLICY_BOUNDS.items():
        value = getattr(policy, name)
        if value is not None and not low <= value <= high:
            raise Invalid(f"This must lie between {low} and {high}.", pointer=f"/{name}")


def _shown(value: object) -> str:
    return "default" if value is None else str(value)
