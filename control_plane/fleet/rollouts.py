"""Rollouts towards their end: what nodes report decides. Nobody else takes a rollout's steps, but at people's request.

A sweep and every heartbeat of a node that serves such an endpoint take each open rollout as far as it goes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.endpoints import rollouts, selectors
from control_plane.endpoints.changes import lock_endpoint
from control_plane.endpoints.comparison import Evidence, Thresholds, Verdict, judge
from control_plane.endpoints.models import ROLLOUT_ENDED, Rollout
from control_plane.endpoints.rollout_plan import Move, Plan, Progress, Sight, next_move
from control_plane.fleet.models import Node
from control_plane.speculators import canary
from control_plane.speculators.selectors import pinned_version_refs
from control_plane.tenants import audit
from control_plane.tenants.models import Placement

logger = logging.getLogger(__name__)

SYSTEM = "system"


def thresholds() -> Thresholds:
    """As the settings say."""
    return Thresholds(
        **{
            field.name: getattr(settings, f"SLIPSTREAM_ROLLOUT_{field.name.upper()}")
            for field in dataclasses.fields(Thresholds)
        }
    )


def open_on(node_id: str) -> list[str]:
    """Ids of the open rollouts whose endpoints' projects are on the node."""
    projects = Placement.objects.filter(node=node_id).values("project")
    rows = Rollout.objects.filter(project__in=projects).exclude(state__in=ROLLOUT_ENDED)
    return list(rows.values_list("id", flat=True))


def advance(rollout_ids: Iterable[str] | None = None) -> int:
    """Take every open rollout (or these) as far as it goes now. Returns the number of steps. Safe at any time."""
    rows = Rollout.objects.unscoped().exclude(state__in=ROLLOUT_ENDED)
    if rollout_ids is not None:
        rows = rows.filter(pk__in=list(rollout_ids))
    steps = 0
    for rollout in rows.order_by("id").select_related("endpoint", "source", "target"):
        try:
            steps += _settle(rollout)
        except Conflict as error:  # somebody else changed it meanwhile: the next sweep sees
            logger.info("rollout %s: %s", rollout.id, error.detail)
    return steps


def _settle(seen: Rollout) -> int:
    """The steps of one rollout, each in a transaction of its own: nodes must see one before the next."""
    steps = 0
    while True:
        with transaction.atomic():
            if seen.trigger == "promotion":
                canary.lock(seen)
            lock_endpoint(seen.endpoint)
            rollout = Rollout.objects.select_related("endpoint", "source", "target").get(
                pk=seen.pk, endpoint=seen.endpoint_id
            )
            if not rollout.is_open:
                return steps
            now = timezone.now()
            sight, shown = _look(rollout, now)
            if shown and shown != rollout.evidence:
                Rollout.objects.filter(endpoint=rollout.endpoint_id, pk=rollout.pk).update(evidence=shown)
            move = next_move(_progress(rollout, now), sight)
            if move is None:
                return steps
            _take(rollout, move)
            steps += 1


def _progress(rollout: Rollout, now: datetime) -> Progress:
    plan = Plan(rollout.strategy, tuple(rollout.steps), rollout.observe_seconds, rollout.min_requests)
    seconds = (now - (rollout.observed_since or rollout.state_changed_at)).total_seconds()
    return Progress(rollout.state, rollout.step, plan, seconds, rollout.hurried)


def _take(rollout: Rollout, move: Move) -> None:
    if move.state == "aborted":  # the reason stays in view
        move = dataclasses.replace(move, code=rollout.state_code, message=rollout.state_message)
    if move.state in ("completed", "aborted", "failed") and rollout.trigger == "promotion":
        canary.conclude(rollout, move)
    rollouts.apply(rollout, move)
    if move.state in ("aborting", "failed", "completed"):
        audit.record(
            rollout.organization_id,
            actor=SYSTEM,
            action={"aborting": "rollout.abort", "failed": "rollout.fail"}.get(move.state, "rollout.complete"),
            target=rollout.endpoint_id,
            changes={"rollout": rollout.id, "reason": move.message},
        )


def _look(rollout: Rollout, now: datetime) -> tuple[Sight, dict[str, Any]]:
    """What nodes show of the rollout, and the same as it is stored for people."""
    holders = Placement.objects.filter(project=rollout.project_id).values("node_id")
    nodes = list(Node.objects.filter(pk__in=holders, model=rollout.target.model_id).exclude(state="lost"))
    ready = [node for node in nodes if node.serves(0)]
    sight = Sight(
        ready=len(ready),
        applied=bool(ready) and all(node.serves(rollout.generation) for node in ready),
        refusal=_withdrawn(rollout) or _refusal(rollout, ready),
    )
    if rollout.shifted_at is None:
        return sight, {}
    found = selectors.evidence(rollout, since=rollout.shifted_at)
    source, target = found[rollout.source_id], found[rollout.target_id]
    same_policy = all(
        getattr(rollout.source, name) == getattr(rollout.target, name) for name in ("speculation_mode", "max_lookahead")
    )
    verdict = judge(source, target, same_policy=same_policy, thresholds=thresholds())
    requests = 0
    if rollout.observed_since is not None:
        requests = selectors.requests_of(rollout.target_id, rollout.endpoint_id, since=rollout.observed_since)
    shown = _shown(source, target, verdict) | {"requests_in_step": requests}
    return dataclasses.replace(sight, requests=requests, verdict=verdict), shown


def _withdrawn(rollout: Rollout) -> str:
    """Whether the version that the target names may not serve any more (deleted traffic, retired by hand)."""
    wanted = rollout.target.speculator_version_id
    if wanted is None or pinned_version_refs([rollout.project_id], [wanted]):
        return ""
    return f"{wanted} was withdrawn."


def _refusal(rollout: Rollout, nodes: list[Node]) -> str:
    """Why a node would not load the target's speculator version; empty if all would."""
    for node in nodes:
        for item in node.loaded:
            if item["state"] == "refused" and item.get("deployment_id") == rollout.target_id:
                return f"{item['speculator_version_id']}: {item['reason']}"[:400]
    return ""


def _shown(source: Evidence, target: Evidence, verdict: Verdict) -> dict[str, Any]:
    return {
        "before": {"requests": source.requests, "failed": source.errors},
        "after": {"requests": target.requests, "failed": target.errors},
        "measures": [dataclasses.asdict(measure) for measure in verdict.measures],
        "reason": verdict.reason,
    }
