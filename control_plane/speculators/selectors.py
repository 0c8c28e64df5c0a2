"""What others may read of consent and versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Prefetch, QuerySet

from control_plane.common.errors import NotFound
from control_plane.endpoints.models import Endpoint
from control_plane.speculators.models import Speculator, SpeculatorVersion, TrafficPolicy, VersionState
from control_plane.tenants.models import Project
from dataplane import contracts


def traffic_policy_of(project: Project) -> contracts.TrafficPolicy:
    """The project's consent as nodes know it; without a row there is none."""
    return traffic_policies([project.id]).get(project.id, contracts.TrafficPolicy())


def traffic_policies(project_ids: Iterable[str]) -> dict[str, contracts.TrafficPolicy]:
    """Consent of many projects in one query; projects without a row are absent."""
    rows = TrafficPolicy.objects.filter(project__in=list(project_ids))
    return {
        row.project_id: contracts.TrafficPolicy(row.capture, row.sample_rate, row.retention_days) for row in rows
    }


def active_version_ref(endpoint: Endpoint) -> contracts.SpeculatorRef | None:
    """The version that the endpoint should run; None: the static speculator alone."""
    return active_version_refs([endpoint.project_id]).get((endpoint.project_id, endpoint.model_id))


def active_version_refs(project_ids: Iterable[str]) -> dict[tuple[str, str], contracts.SpeculatorRef]:
    """Active versions by (project id, target model id), in one query."""
    rows = SpeculatorVersion.objects.filter(
        project__in=list(project_ids), state=VersionState.ACTIVE
    ).select_related("speculator")
    return {
        (row.project_id, row.speculator.model_id): contracts.SpeculatorRef(
            speculator_id=row.speculator_id,
            speculator_version_id=row.id,
            number=row.number,
            manifest_key=row.manifest_key,
            manifest_sha256=row.manifest_sha256,
        )
        for row in rows
    }


def active_version(speculator: Speculator) -> SpeculatorVersion | None:
    return SpeculatorVersion.objects.filter(
        project=speculator.project_id, speculator=speculator, state=VersionState.ACTIVE
    ).first()


def speculators(organization_ids: Sequence[str]) -> QuerySet[Speculator]:
    """Speculators of these organizations, each with its active version at `active_versions`."""
    active = SpeculatorVersion.objects.unscoped().filter(state=VersionState.ACTIVE)
    return (
        Speculator.objects.filter(organization__in=organization_ids)
        .select_related("project")
        .prefetch_related(Prefetch("versions", queryset=active, to_attr="active_versions"))
    )


def find_speculator(speculator_id: str, organization_ids: Sequence[str]) -> Speculator:
    """Raises NotFound, also for another tenant's."""
    found = speculators(organization_ids).filter(pk=speculator_id).first()
    if found is None:
        raise NotFound()
    return found


def versions(organization_ids: Sequence[str]) -> QuerySet[SpeculatorVersion]:
    return SpeculatorVersion.objects.filter(organization__in=organization_ids).select_related("speculator", "parent")


def find_version(version_id: str, organization_ids: Sequence[str]) -> SpeculatorVersion:
    """Raises NotFound, also for another tenant's."""
    found = versions(organization_ids).filter(pk=version_id).first()
    if found is None:
        raise NotFound()
    return found
