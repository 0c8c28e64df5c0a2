"""Rollouts: what begins, steers and ends them. All writes of a rollout and of its deployments' shares.

`fleet/rollouts.py` moves them on with what nodes report. Locks are taken in one order: the speculator (where a version
is promoted), the endpoint, the rollout, the project, its nodes' snapshots, the audit chain.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict
from control_plane.common.states import record_event, transition
from control_plane.endpoints import deployments
from control_plane.endpoints.changes import announce, audited, lock_endpoint
from control_plane.endpoints.deployments import POLICY, Specification
from control_plane.endpoints.models import Deployment, Endpoint, Rollout
from control_plane.endpoints.rollout_plan import IMMEDIATE, Move, Plan


@transaction.atomic
def start(
    endpoint: Endpoint,
    target: Specification | Deployment,
    plan: Plan = IMMEDIATE,
    *,
    actor: str,
    trigger: str = "change",
    if_match: str | None = None,
    request_id: str = "",
) -> Rollout:
    """Roll the endpoint out to a new deployment, or to one that it has had. An immediate rollout is complete at once.

    Raises Conflict while another rollout is open, when the endpoint does not run and the plan needs traffic, or when
    the deployment is the active one already; PreconditionFailed.
    """
    locked = lock_endpoint(endpoint, if_match)
    if locked.desired_state == "deleted":
        raise Conflict("The endpoint is being deleted.", code="deleting")
    if deployments.open_rollout(locked) is not None:
        raise Conflict("A rollout of this endpoint is open: wait for its end, or abort it.", code="rollout_open")
    if plan.strategy != "immediate" and locked.desired_state != "running":
        raise Conflict("The endpoint does not run: there is nothing to observe.", code="endpoint_stopped")
    source = deployments.active_deployment(locked)
    made = target if isinstance(target, Deployment) else deployments.create(locked, target)
    if made.pk == source.pk:
        raise Conflict("This deployment is the active one.", code="already_active")
    rollout = Rollout.objects.create(
        organization_id=locked.organization_id,
        project_id=locked.project_id,
        endpoint=locked,
        source=source,
        target=made,
        trigger=trigger,
        strategy=plan.strategy,
        steps=list(plan.steps),
        observe_seconds=plan.observe_seconds,
        min_requests=plan.min_requests,
        state="pending",
    )
    record_event(rollout, before="", code="created", actor=actor)
    audited(
        locked,
        "rollout.start",
        {
            "rollout": rollout.id,
            "strategy": plan.strategy,
            "trigger": trigger,
            "deployment": [source.id, made.id],
            **_differences(source, made),
        },
        actor,
        request_id,
    )
    if plan.strategy == "immediate":
        apply(rollout, Move("shifting", "shifting", "All requests at once.", 1), actor=actor)
        apply(rollout, Move("completed", "completed", "All requests are shifted."), actor=actor)
    else:
        apply(rollout, Move("surging", "loading", "Nodes load the new deployment."), actor=actor)
    return rollout


def _differences(source: Deployment, target: Deployment) -> dict[str, Any]:
    before, after = deployments.specification(source), deployments.specification(target)
    return {
        name: [getattr(before, name), getattr(after, name)]
        for name in Specification.__slots__
        if getattr(before, name) != getattr(after, name)
    }


@transaction.atomic
def pause(rollout: Rollout, *, actor: str, request_id: str = "") -> Rollout:
    """Keep the shares as they are; what gets worse is still aborted. Raises Conflict."""
    endpoint = lock_endpoint(rollout.endpoint)
    transition(rollout, "paused", code="requested", message="Paused on request.", actor=actor)
    audited(endpoint, "rollout.pause", {"rollout": rollout.id}, actor, request_id)
    return rollout


@transaction.atomic
def resume(rollout: Rollout, *, actor: str, request_id: str = "") -> Rollout:
    """Go on; the present step is observed anew. Raises Conflict unless it is paused."""
    endpoint = lock_endpoint(rollout.endpoint)
    rollout.refresh_from_db()
    if rollout.state != "paused":
        raise Conflict(f"A rollout that is {rollout.state} can't be resumed.", code="illegal_transition")
    _resume(rollout, actor)
    audited(endpoint, "rollout.resume", {"rollout": rollout.id}, actor, request_id)
    return rollout


def _resume(rollout: Rollout, actor: str) -> None:
    to = "shifting" if rollout.step else "surging"
    transition(rollout, to, code="resumed", message="Resumed on request.", actor=actor, observed_since=None)


@transaction.atomic
def hurry(rollout: Rollout, *, actor: str, request_id: str = "") -> Rollout:
    """Shift everything as soon as nodes have the new deployment, and observe no more. Raises Conflict at its end."""
    endpoint = lock_endpoint(rollout.endpoint)
    rollout.refresh_from_db()
    if rollout.state not in ("pending", "surging", "shifting", "observing", "paused"):
        raise Conflict(f"A rollout that is {rollout.state} can't be promoted.", code="illegal_transition")
    if not rollout.hurried:
        rollout.hurried = True
        rollout.save(update_fields=["hurried"])
        record_event(rollout, before=rollout.state, code="hurried", message="To be completed at once.", actor=actor)
        audited(endpoint, "rollout.promote", {"rollout": rollout.id}, actor, request_id)
    if rollout.state == "paused":
        _resume(rollout, actor)
    return rollout


@transaction.atomic
def abort(
    rollout: Rollout, *, actor: str, message: str = "Aborted on request.", code: str = "requested", request_id: str = ""
) -> Rollout:
    """Return all requests to the deployment before. Raises Conflict at its end. Aborting twice is aborting once."""
    endpoint = lock_endpoint(rollout.endpoint)
    rollout.refresh_from_db()
    if rollout.state == "aborting":
        return rollout
    apply(rollout, Move("aborting", code, message), actor=actor)
    audited(endpoint, "rollout.abort", {"rollout": rollout.id, "reason": message}, actor, request_id)
    return rollout


@transaction.atomic
def roll_back(endpoint: Endpoint, *, actor: str, if_match: str | None = None, request_id: str = "") -> Rollout:
    """One call back: abort the open rollout; without one, return at once to the deployment before the active one.

    Raises Conflict if there is neither.
    """
    locked = lock_endpoint(endpoint, if_match)
    if (found := deployments.open_rollout(locked)) is not None:
        return abort(found, actor=actor, message="The endpoint was rolled back.", request_id=request_id)
    before = deployments.previous(locked)
    return start(locked, before, actor=actor, trigger="rollback", request_id=request_id)


def apply(rollout: Rollout, move: Move, *, actor: str = "system") -> None:
    """Take one step with everything that belongs to it: shares, the active deployment, what nodes must know.

    In the transaction that holds the endpoint's lock. Raises Conflict when the table does not allow the step.
    """
    endpoint, now = rollout.endpoint, timezone.now()
    values: dict[str, Any] = {}
    if move.state == "surging":
        values = {"generation": announce(endpoint)}
    elif move.state == "shifting":
        deployments.share(rollout, int(rollout.steps[move.step - 1]))
        values = {"step": move.step, "generation": announce(endpoint), "observed_since": None}
        values["shifted_at"] = rollout.shifted_at or now
    elif move.state == "observing":
        values = {"observed_since": now}
    elif move.state == "completed":
        if rollout.trigger == "promotion":  # the version went live: the source, which follows it, serves it now
            deployments.share(rollout, 0)
        else:
            _adopt(endpoint, deployments.activate(rollout))
        values = {"finished_at": now, "generation": announce(endpoint)}
    elif move.state in ("aborting", "failed"):
        deployments.share(rollout, 0)
        values = {"generation": announce(endpoint)}
    if move.state in ("aborted", "failed"):
        values["finished_at"] = now
    transition(rollout, move.state, code=move.code, message=move.message, actor=actor, **values)


def _adopt(endpoint: Endpoint, active: Deployment) -> None:
    policy = {name: getattr(active, name) for name in POLICY}
    Endpoint.objects.filter(organization=endpoint.organization_id, pk=endpoint.pk).update(**policy)
    for name, value in policy.items():
        setattr(endpoint, name, value)
