"""Reading endpoints and the catalogue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone

from control_plane.common.errors import NotFound
from control_plane.endpoints.comparison import Evidence
from control_plane.endpoints.models import (
    ROLLOUT_ENDED,
    CatalogueModel,
    Deployment,
    Endpoint,
    EndpointEvent,
    Rollout,
    RolloutEvent,
    SpeculationWindow,
)
from control_plane.tenants.principal import Principal
from control_plane.tenants.selectors import one_or_404
from dataplane.contracts import Moments

# One that was brought back is `deleted` until the reconciler has seen it.
_GONE = Q(state="deleted", desired_state="deleted")
_ITS_ENDPOINT_IS_GONE = Q(endpoint__state="deleted", endpoint__desired_state="deleted")


def catalogue() -> QuerySet[CatalogueModel]:
    return CatalogueModel.objects.filter(enabled=True).order_by("id")


def catalogue_model(model_id: str) -> CatalogueModel:
    """Raises NotFound."""
    found = catalogue().filter(pk=model_id).first()
    if found is None:
        raise NotFound
    return found


def endpoints(principal: Principal, *, project_id: str | None = None, deleted: bool = False) -> QuerySet[Endpoint]:
    """Those that are not deleted; or those that are, and can be brought back. Each with `deployment_id` (the active
    one) and `rollout_id` (the open one, or None)."""
    rows = Endpoint.objects.filter(organization__in=principal.organizations_with("endpoint:read"))
    if deleted:
        rows = rows.filter(desired_state="deleted", purged_at=None, deleted_at__gt=_retained_since())
    else:
        rows = rows.exclude(_GONE)
    rows = _with_rollout(rows)
    return rows if project_id is None else rows.filter(project_id=project_id)


def endpoint(principal: Principal, endpoint_id: str, permission: str = "endpoint:read") -> Endpoint:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission."""
    rows = Endpoint.objects.filter(organization__in=principal.organization_ids).exclude(_GONE)
    found = one_or_404(_with_rollout(rows), endpoint_id)
    principal.require(permission, found.organization_id)
    return found


def endpoint_or_deleted(principal: Principal, endpoint_id: str, permission: str) -> Endpoint:
    """As `endpoint`, and also one that can be brought back."""
    rows = Endpoint.objects.filter(organization__in=principal.organization_ids)
    alive = ~_GONE | Q(purged_at=None, deleted_at__gt=_retained_since())
    found = one_or_404(_with_rollout(rows.filter(alive)), endpoint_id)
    principal.require(permission, found.organization_id)
    return found


def _retained_since() -> datetime:
    return timezone.now() - timedelta(days=settings.SLIPSTREAM_ENDPOINT_RETENTION_DAYS)


def _with_rollout(rows: QuerySet[Endpoint]) -> QuerySet[Endpoint]:
    deployment = Deployment.objects.unscoped().filter(endpoint=OuterRef("pk"), active=True)
    rollout = Rollout.objects.unscoped().filter(endpoint=OuterRef("pk")).exclude(state__in=ROLLOUT_ENDED)
    return rows.select_related("model").annotate(
        deployment_id=Subquery(deployment.values("id")[:1]), rollout_id=Subquery(rollout.values("id")[:1])
    )


def events_of(endpoint: Endpoint) -> QuerySet[EndpointEvent]:
    return EndpointEvent.objects.filter(subject=endpoint).order_by("-id")


def deployments(principal: Principal, *, endpoint_id: str | None = None) -> QuerySet[Deployment]:
    """Of endpoints that are not deleted."""
    rows = Deployment.objects.filter(organization__in=principal.organizations_with("endpoint:read"))
    rows = rows.exclude(_ITS_ENDPOINT_IS_GONE)
    return rows if endpoint_id is None else rows.filter(endpoint_id=endpoint_id)


def deployment(principal: Principal, deployment_id: str, permission: str = "endpoint:read") -> Deployment:
    rows = Deployment.objects.filter(organization__in=principal.organization_ids).exclude(_ITS_ENDPOINT_IS_GONE)
    found = one_or_404(rows.select_related("model"), deployment_id)
    principal.require(permission, found.organization_id)
    return found


def rollouts(principal: Principal, *, endpoint_id: str | None = None, state: str | None = None) -> QuerySet[Rollout]:
    rows = Rollout.objects.filter(organization__in=principal.organizations_with("endpoint:read"))
    rows = rows.exclude(_ITS_ENDPOINT_IS_GONE)
    wanted = {"endpoint_id": endpoint_id, "state": state}
    return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


def rollout(principal: Principal, rollout_id: str, permission: str = "endpoint:read") -> Rollout:
    rows = Rollout.objects.filter(organization__in=principal.organization_ids).exclude(_ITS_ENDPOINT_IS_GONE)
    found = one_or_404(rows.select_related("endpoint", "source", "target"), rollout_id)
    principal.require(permission, found.organization_id)
    return found


def rollout_events_of(rollout: Rollout) -> QuerySet[RolloutEvent]:
    return RolloutEvent.objects.filter(subject=rollout).order_by("-id")


_MOMENTS = ("first_token", "per_token")


def evidence(rollout: Rollout, *, since: datetime) -> dict[str, Evidence]:
    """What the rollout's two deployments did since then, by deployment id: one query."""
    mode = rollout.target.speculation_mode
    sums: dict[str, Any] = {
        f"{name}_{part}": Sum(f"{name}_{part}", default=0)
        for name in (*_MOMENTS, "acceptance")
        for part in ("count", "total", "squares")
    }
    asked_for = {name: Sum(name, filter=Q(arm=mode), default=0) for name in sums if name.startswith("acceptance")}
    sums = {f"sum_{name}": value for name, value in (sums | asked_for).items()}
    rows = SpeculationWindow.objects.filter(
        endpoint=rollout.endpoint_id, deployment__in=[rollout.source_id, rollout.target_id], received_at__gte=since
    )
    found = rows.values("deployment_id").annotate(
        sum_requests=Sum("requests"), sum_errors=Sum("errors"), **sums
    ).order_by("deployment_id")  # fmt: skip
    counted = {row["deployment_id"]: _evidence(row) for row in found}
    return {key: counted.get(key, Evidence()) for key in (rollout.source_id, rollout.target_id)}


def _evidence(row: dict[str, Any]) -> Evidence:
    def moments(name: str) -> Moments:
        return Moments(*(row[f"sum_{name}_{part}"] for part in ("count", "total", "squares")))

    return Evidence(
        row["sum_requests"], row["sum_errors"], moments("first_token"), moments("per_token"), moments("acceptance")
    )


def requests_of(deployment_id: str, endpoint_id: str, *, since: datetime) -> int:
    """Answered by the deployment since then."""
    rows = SpeculationWindow.objects.filter(endpoint=endpoint_id, deployment=deployment_id, received_at__gte=since)
    return int(rows.aggregate(total=Sum("requests", default=0))["total"])


def windows(endpoint: Endpoint, *, since: datetime, until: datetime | None = None) -> QuerySet[SpeculationWindow]:
    """What speculation did, oldest first."""
    rows = SpeculationWindow.objects.filter(endpoint=endpoint, ended_at__gte=since).order_by("ended_at", "id")
    return rows if until is None else rows.filter(ended_at__lt=until)
