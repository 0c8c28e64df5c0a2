"""What others may read of consent and versions."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Prefetch, QuerySet

from control_plane.endpoints.models import Endpoint
from control_plane.speculators.models import (
    SERVABLE,
    Speculator,
    SpeculatorVersion,
    SpeculatorVersionEvent,
    TrafficPolicy,
    VersionState,
)
from control_plane.tenants.models import Project
from control_plane.tenants.principal import Principal
from control_plane.tenants.selectors import one_or_404
from control_plane.tenants.selectors import project as find_project
from dataplane import contracts


def traffic_policy_of(project: Project) -> contracts.TrafficPolicy:
    """The project's consent as nodes know it; without a row there is none."""
    return traffic_policies([project.id]).get(project.id, contracts.TrafficPolicy())


def traffic_policies(project_ids: Iterable[str]) -> dict[str, contracts.TrafficPolicy]:
    """Consent of many projects in one query; projects without a row are absent."""
    rows = traffic_policy_rows(project_ids)
    return {project_id: as_contract(row) for project_id, row in rows.items()}


def traffic_policy_rows(project_ids: Iterable[str]) -> dict[str, TrafficPolicy]:
    """The same with what nodes must know beside the consent."""
    return {row.project_id: row for row in TrafficPolicy.objects.filter(project__in=list(project_ids))}


def as_contract(row: TrafficPolicy) -> contracts.TrafficPolicy:
    """The consent as nodes know it, and as records and lineage keep it."""
    return contracts.TrafficPolicy(
        capture=row.capture,
        sample_rate=row.sample_rate,
        retention_days=row.retention_days,
        redaction=row.redaction,  # type: ignore[arg-type]
        memory_scope=row.memory_scope,  # type: ignore[arg-type]
    )


def active_version_ref(endpoint: Endpoint) -> contracts.SpeculatorRef | None:
    """The version that the endpoint should run; None: the static speculator alone."""
    return active_version_refs([endpoint.project_id]).get((endpoint.project_id, endpoint.model_id))


def active_version_refs(project_ids: Iterable[str]) -> dict[tuple[str, str], contracts.SpeculatorRef]:
    """Active versions by (project id, target model id), in one query."""
    rows = SpeculatorVersion.objects.filter(project__in=list(project_ids), state=VersionState.ACTIVE)
    found = rows.values_list(  # not whole rows: their evidence is large, and a snapshot holds hundreds
        "project_id", "speculator__model_id", "speculator_id", "id", "number", "manifest_key", "manifest_sha256"
    )
    return {
        (project_id, model_id): contracts.SpeculatorRef(
            speculator_id=speculator_id,
            speculator_version_id=version_id,
            number=number,
            manifest_key=manifest_key,
            manifest_sha256=manifest_sha256,
        )
        for project_id, model_id, speculator_id, version_id, number, manifest_key, manifest_sha256 in found
    }


def pinned_version_refs(project_ids: Iterable[str], version_ids: Iterable[str]) -> dict[str, contracts.SpeculatorRef]:
    """Versions that deployments name, by id, in one query; without those that may not serve (any more)."""
    wanted = list(version_ids)
    if not wanted:
        return {}
    rows = SpeculatorVersion.objects.filter(project__in=list(project_ids), pk__in=wanted, state__in=SERVABLE)
    found = rows.values_list("id", "speculator_id", "number", "manifest_key", "manifest_sha256")
    return {
        version_id: contracts.SpeculatorRef(
            speculator_id=speculator_id,
            speculator_version_id=version_id,
            number=number,
            manifest_key=manifest_key,
            manifest_sha256=manifest_sha256,
        )
        for version_id, speculator_id, number, manifest_key, manifest_sha256 in found
    }


def active_version(speculator: Speculator) -> SpeculatorVersion | None:
    return SpeculatorVersion.objects.filter(
        project=speculator.project_id, speculator=speculator, state=VersionState.ACTIVE
    ).first()


def traffic_policy(principal: Principal, project_id: str, permission: str = "traffic_policy:read") -> TrafficPolicy:
    """The project's policy; the unsaved default if it never set one. Raises NotFound, Forbidden."""
    project = find_project(principal, project_id, "project:read")
    principal.require(permission, project.organization_id)
    found = TrafficPolicy.objects.filter(project=project).first()
    return found or TrafficPolicy(project=project, organization_id=project.organization_id)


def speculators(principal: Principal, *, project_id: str | None = None) -> QuerySet[Speculator]:
    """Each with its active version (or nothing) in the list `active_versions`."""
    active = SpeculatorVersion.objects.unscoped().filter(state=VersionState.ACTIVE)
    rows = Speculator.objects.filter(organization__in=principal.organizations_with("speculator:read"))
    rows = rows.prefetch_related(Prefetch("versions", queryset=active, to_attr="active_versions"))
    return rows if project_id is None else rows.filter(project_id=project_id)


def speculator(principal: Principal, speculator_id: str, permission: str = "speculator:read") -> Speculator:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission."""
    active = SpeculatorVersion.objects.unscoped().filter(state=VersionState.ACTIVE)
    rows = Speculator.objects.filter(organization__in=principal.organization_ids)
    found = one_or_404(
        rows.prefetch_related(Prefetch("versions", queryset=active, to_attr="active_versions")), speculator_id
    )
    principal.require(permission, found.organization_id)
    return found


def versions(
    principal: Principal, *, project_id: str | None = None, speculator_id: str | None = None, state: str | None = None
) -> QuerySet[SpeculatorVersion]:
    rows = SpeculatorVersion.objects.filter(organization__in=principal.organizations_with("speculator:read"))
    wanted = {"project_id": project_id, "speculator_id": speculator_id, "state": state}
    return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


def version(principal: Principal, version_id: str, permission: str = "speculator:read") -> SpeculatorVersion:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission."""
    rows = SpeculatorVersion.objects.filter(organization__in=principal.organization_ids)
    found = one_or_404(rows.select_related("speculator"), version_id)
    principal.require(permission, found.organization_id)
    return found


def events_of(version: SpeculatorVersion) -> QuerySet[SpeculatorVersionEvent]:
    return SpeculatorVersionEvent.objects.filter(subject=version).order_by("-id")
