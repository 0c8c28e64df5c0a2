"""Two versions side by side: what the gate saw of each, and what each did in service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Min, Sum
from django.utils import timezone

from control_plane.common.errors import Invalid
from control_plane.endpoints.models import Endpoint, SpeculationWindow
from control_plane.speculators.models import SpeculatorVersion
from control_plane.speculators.regression import LiveCounters, RegressionPolicy

LIVE_HOURS = 24
ARMS = ("candidate", "static", "incumbent")


@dataclass(frozen=True, slots=True)
class LiveWindow:
    """What nodes reported of a version in the last LIVE_HOURS."""

    steps: int
    acceptance_length: float | None  # tokens per step; None: it never served
    interval: tuple[float, float] | None  # one-sided 95 % bounds
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Compared:
    version: SpeculatorVersion
    evaluation: dict[str, Any]  # by arm: acceptance_length, interval, num_records
    gain_over_static: float | None  # on the version's own held-out traffic
    live: LiveWindow


@dataclass(frozen=True, slots=True)
class Comparison:
    """Held-out sets are each version's own: lengths may differ because the traffic did, so compare the gains over the
    static speculator, and what both did live."""

    version: Compared
    other: Compared | None  # None: the static speculator alone, which each evaluation holds
    same_static: bool  # both were made for one static speculator
    is_ancestor: bool  # `other` is where `version` was trained from


def compare(version: SpeculatorVersion, other: SpeculatorVersion | None) -> Comparison:
    """Raises Invalid unless both are versions of one speculator."""
    if other is None:
        return Comparison(_compared(version), None, same_static=True, is_ancestor=False)
    if version.speculator_id != other.speculator_id:
        raise Invalid("Both must be versions of one speculator.", pointer="/with")
    return Comparison(
        _compared(version),
        _compared(other),
        same_static=version.static_sha256 == other.static_sha256,
        is_ancestor=version.parent_id == other.pk,
    )


def _compared(version: SpeculatorVersion) -> Compared:
    arms = {
        name: {
            "acceptance_length": arm.get("acceptance_length"),
            "interval": arm.get("interval"),
            "num_records": len(arm.get("per_record_acceptance_length") or ()),
        }
        for name in ARMS
        if (arm := version.evaluation.get(name))
    }
    ours, floor = (arms.get(name, {}).get("acceptance_length") for name in ("candidate", "static"))
    return Compared(version, arms, ours / floor - 1.0 if ours and floor else None, live_window(version))


def live_window(version: SpeculatorVersion) -> LiveWindow:
    """One query. The interval takes accepted tokens to be as spread as a geometric distribution."""
    found = SpeculationWindow.objects.filter(
        organization=version.organization_id,
        endpoint__in=Endpoint.objects.filter(project=version.project_id).values("pk"),
        ended_at__gt=timezone.now() - timedelta(hours=LIVE_HOURS),
        arm="adaptive",
        speculator_version_id=version.pk,
    ).aggregate(
        steps=Sum("steps", default=0),
        accepted=Sum("accepted", default=0),
        first_at=Min("started_at"),
        last_at=Max("ended_at"),
    )
    times = {name: found.pop(name) for name in ("first_at", "last_at")}
    counters = LiveCounters(**found)
    if not counters.steps:
        return LiveWindow(0, None, None, None, None)
    policy = RegressionPolicy()
    length = counters.acceptance_length
    margin = policy.z * counters.standard_error(policy.effective_share)
    return LiveWindow(counters.steps, length, (length - margin, length + margin), **times)
