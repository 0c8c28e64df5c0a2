"""Watching what the active versions do in service, and taking back those that fell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.endpoints.models import Endpoint, SpeculationWindow
from control_plane.speculators.models import SpeculatorVersion, VersionState
from control_plane.speculators.regression import LiveCounters, RegressionPolicy, judge, total
from control_plane.speculators.services import SYSTEM, rollback

REGRESSION_WINDOW = timedelta(minutes=15)


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
        drop = version.speculator.max_drop
        verdict = judge(
            _counters(windows.filter(arm="adaptive", speculator_version_id=version.id)),
            _counters(windows.filter(arm="static")),
            evaluated=version.evaluation["candidate"]["acceptance_length"],
            evaluated_static=version.evaluation["static"]["acceptance_length"],
            policy=policy if drop is None else replace(policy, max_drop=drop),
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
