"""Reading endpoints and the catalogue."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from control_plane.common.errors import NotFound
from control_plane.endpoints.models import (
    CatalogueModel,
    Deployment,
    Endpoint,
    EndpointEvent,
    SpeculationWindow,
)
from control_plane.tenants.principal import Principal
from control_plane.tenants.selectors import one_or_404


def catalogue() -> QuerySet[CatalogueModel]:
    return CatalogueModel.objects.filter(enabled=True).order_by("id")


def catalogue_model(model_id: str) -> CatalogueModel:
    """Raises NotFound."""
    found = catalogue().filter(pk=model_id).first()
    if found is None:
        raise NotFound
    return found


def endpoints(principal: Principal, *, project_id: str | None = None) -> QuerySet[Endpoint]:
    """Those that are not deleted."""
    rows = Endpoint.objects.filter(organization__in=principal.organizations_with("endpoint:read"))
    rows = rows.exclude(state="deleted").select_related("model")
    return rows if project_id is None else rows.filter(project_id=project_id)


def endpoint(principal: Principal, endpoint_id: str, permission: str = "endpoint:read") -> Endpoint:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission."""
    rows = Endpoint.objects.filter(organization__in=principal.organization_ids).exclude(state="deleted")
    found = one_or_404(rows.select_related("model"), endpoint_id)
    principal.require(permission, found.organization_id)
    return found


def events_of(endpoint: Endpoint) -> QuerySet[EndpointEvent]:
    return EndpointEvent.objects.filter(subject=endpoint).order_by("-id")


def active_deployment(endpoint: Endpoint) -> Deployment:
    return Deployment.objects.get(endpoint=endpoint, active=True)


def windows(endpoint: Endpoint, *, since: datetime, until: datetime | None = None) -> QuerySet[SpeculationWindow]:
    """What speculation did, oldest first."""
    rows = SpeculationWindow.objects.filter(endpoint=endpoint, ended_at__gte=since).order_by("ended_at", "id")
    return rows if until is None else rows.filter(ended_at__lt=until)
