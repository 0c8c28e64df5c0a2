"""Reading tenants' rows, always through the principal's organizations: everything else does not exist."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import QuerySet

from control_plane.common.errors import Invalid, NotFound
from control_plane.common.ids import InvalidId
from control_plane.common.scoping import TenantModel
from control_plane.tenants.models import (
    ApiKey,
    Invitation,
    Membership,
    Organization,
    Project,
    ServiceAccount,
    ServiceKey,
)
from control_plane.tenants.principal import Principal

Row = TypeVar("Row", bound=TenantModel)


def one_or_404(rows: QuerySet[Row], object_id: str) -> Row:
    """The row with this id among `rows`. Raises NotFound, also for an id of another form."""
    try:
        found = rows.filter(pk=object_id).first()
    except InvalidId:
        found = None
    if found is None:
        raise NotFound
    return found


def organizations(principal: Principal) -> QuerySet[Organization]:
    return Organization.objects.filter(id__in=principal.organization_ids)


def organization(principal: Principal, organization_id: str, permission: str = "organization:read") -> Organization:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission or, with the code
    `second_factor_required`, to a member who has yet to set one up."""
    principal.require_second_factor_of(organization_id)
    found = one_or_404(organizations(principal), organization_id)
    principal.require(permission, found.id)
    return found


def projects(principal: Principal) -> QuerySet[Project]:
    return Project.objects.filter(organization__in=principal.organizations_with("project:read"))


def project(principal: Principal, project_id: str, permission: str = "project:read") -> Project:
    found = one_or_404(Project.objects.filter(organization__in=principal.organization_ids), project_id)
    principal.require(permission, found.organization_id)
    return found


def memberships(principal: Principal, organization_id: str, permission: str = "member:read") -> QuerySet[Membership]:
    organization(principal, organization_id, permission)
    return Membership.objects.filter(organization_id=organization_id).select_related("user")


def invitations(principal: Principal, organization_id: str, permission: str = "member:read") -> QuerySet[Invitation]:
    organization(principal, organization_id, permission)
    return Invitation.objects.filter(organization_id=organization_id)


def service_accounts(principal: Principal) -> QuerySet[ServiceAccount]:
    return ServiceAccount.objects.filter(organization__in=principal.organizations_with("service_key:read"))


def service_account(principal: Principal, account_id: str, permission: str = "service_key:read") -> ServiceAccount:
    found = one_or_404(ServiceAccount.objects.filter(organization__in=principal.organization_ids), account_id)
    principal.require(permission, found.organization_id)
    return found


def api_keys(principal: Principal) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(organization__in=principal.organizations_with("api_key:read"))


def api_key(principal: Principal, key_id: str, permission: str = "api_key:read") -> ApiKey:
    found = one_or_404(ApiKey.objects.filter(organization__in=principal.organization_ids), key_id)
    principal.require(permission, found.organization_id)
    return found


def service_keys(principal: Principal) -> QuerySet[ServiceKey]:
    rows = ServiceKey.objects.filter(organization__in=principal.organizations_with("service_key:read"))
    return rows.select_related("account")


def service_key(principal: Principal, key_id: str, permission: str = "service_key:read") -> ServiceKey:
    rows = ServiceKey.objects.filter(organization__in=principal.organization_ids).select_related("account")
    found = one_or_404(rows, key_id)
    principal.require(permission, found.organization_id)
    return found


def the_organization(principal: Principal, organization_id: str | None, permission: str) -> Organization:
    """The one that is named; without a name, the only one that the principal belongs to. Raises Invalid."""
    if organization_id is None:
        if len(principal.organization_ids) != 1:
            raise Invalid("Say which organization.", pointer="/organization_id", code="required")
        organization_id = principal.organization_ids[0]
    return organization(principal, organization_id, permission)
