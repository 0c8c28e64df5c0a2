"""Deployments: what an endpoint runs, immutable but for the share of the requests that each of them serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Max

from control_plane.common.errors import Conflict
from control_plane.endpoints.models import ROLLOUT_ENDED, WHOLE, Deployment, Endpoint, Rollout

# The part of a specification that an endpoint repeats from its active deployment.
POLICY = ("speculation_mode", "max_lookahead", "holdout_rate")


@dataclass(frozen=True, slots=True)
class Specification:
    """What a deployment fixes. speculator_version_id: None follows the promoted version."""

    model_id: str
    model_sha256: str
    engine: str
    hardware: str
    speculation_mode: str
    max_lookahead: int
    holdout_rate: float
    speculator_version_id: str | None = None


def specification(deployment: Deployment) -> Specification:
    return Specification(**{name: getattr(deployment, name) for name in Specification.__slots__})


def first_specification(endpoint: Endpoint) -> Specification:
    """Of a new endpoint: the catalogue's model as it is now, and the endpoint's own policy."""
    model = endpoint.model
    return Specification(
        model_id=model.id,
        model_sha256=model.sha256,
        engine=model.engine,
        hardware=model.hardware,
        **{name: getattr(endpoint, name) for name in POLICY},
    )


def changed(deployment: Deployment, changes: Mapping[str, Any]) -> Specification | None:
    """The deployment's specification with `changes`; None if that is the same. A new one takes the catalogue's
    present revision of the model."""
    before = specification(deployment)
    wanted = replace(before, **changes)
    if wanted == before:
        return None
    model = deployment.model
    return replace(wanted, model_sha256=model.sha256, engine=model.engine, hardware=model.hardware)


def create(endpoint: Endpoint, spec: Specification, *, weight: int = 0, active: bool = False) -> Deployment:
    """The endpoint's next deployment. The endpoint's row is locked, or new."""
    last = Deployment.objects.filter(endpoint=endpoint).aggregate(last=Max("number"))["last"] or 0
    return Deployment.objects.create(
        organization_id=endpoint.organization_id,
        project_id=endpoint.project_id,
        endpoint=endpoint,
        number=last + 1,
        weight=weight,
        active=active,
        **{name: getattr(spec, name) for name in Specification.__slots__},
    )


def active_deployment(endpoint: Endpoint) -> Deployment:
    return Deployment.objects.select_related("model").get(endpoint=endpoint, active=True)


def share(rollout: Rollout, target: int) -> None:
    """Give the rollout's target this share of the requests (basis points), and its source the rest."""
    rows = Deployment.objects.filter(endpoint=rollout.endpoint_id)
    rows.filter(pk=rollout.target_id).update(weight=target)
    rows.filter(pk=rollout.source_id).update(weight=WHOLE - target)


def activate(rollout: Rollout) -> Deployment:
    """The target is the endpoint's deployment from now on, alone."""
    share(rollout, WHOLE)
    rows = Deployment.objects.filter(endpoint=rollout.endpoint_id)
    rows.filter(active=True).update(active=False)
    rows.filter(pk=rollout.target_id).update(active=True)
    return rows.get(pk=rollout.target_id)


def previous(endpoint: Endpoint) -> Deployment:
    """The deployment that the active one came to replace. Raises Conflict if there was none.

    Roll-backs don't count: two of them go back two steps instead of to and fro.
    """
    active = active_deployment(endpoint)
    done = Rollout.objects.filter(endpoint=endpoint, state="completed", target=active, trigger="change")
    last = done.order_by("-finished_at").select_related("source").first()
    if last is None:
        raise Conflict("There is no deployment before this one.", code="nothing_to_roll_back")
    return last.source


def open_rollout(endpoint: Endpoint) -> Rollout | None:
    rows = Rollout.objects.filter(endpoint=endpoint).exclude(state__in=ROLLOUT_ENDED)
    return rows.select_related("source", "target").first()
