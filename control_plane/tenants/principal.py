"""Whoever makes a request: a signed-in person or a service key, with a role in each of their organizations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control_plane.common.errors import Forbidden
from control_plane.tenants.permissions import allows

if TYPE_CHECKING:
    from control_plane.tenants.models import ServiceKey, User


@dataclass(frozen=True, slots=True)
class Principal:
    """actor: the typed id of the user or key. roles: organization id -> role. scopes: None means no narrowing."""

    actor: str
    roles: Mapping[str, str] = field(default_factory=dict)
    scopes: frozenset[str] | None = None
    is_operator: bool = False
    is_authenticated: bool = True

    @property
    def pk(self) -> str:
        return self.actor

    @property
    def organization_ids(self) -> list[str]:
        """The organizations that exist, as far as this principal can know."""
        return sorted(self.roles)

    @property
    def is_person(self) -> bool:
        return self.actor.startswith("usr_")

    def may(self, permission: str, organization_id: str) -> bool:
        role = self.roles.get(organization_id)
        return role is not None and allows(role, permission) and (self.scopes is None or permission in self.scopes)

    def require(self, permission: str, organization_id: str) -> None:
        """Raises Forbidden. Call it with an organization that the principal belongs to: others are NotFound before."""
        if not self.may(permission, organization_id):
            raise Forbidden(f"This needs the permission {permission}.")

    def organizations_with(self, permission: str) -> list[str]:
        return [organization for organization in self.organization_ids if self.may(permission, organization)]

    def require_operator(self) -> None:
        if not self.is_operator:
            raise Forbidden("Only operators of the service may do this.")


def principal_of_user(user: User) -> Principal:
    from control_plane.tenants.models import Membership

    roles = dict(Membership.objects.filter(user=user).values_list("organization_id", "role"))
    return Principal(actor=user.id, roles=roles, is_operator=user.is_staff)


def principal_of_key(key: ServiceKey) -> Principal:
    return Principal(
        actor=key.id, roles={key.organization_id: key.role}, scopes=frozenset(key.scopes) if key.scopes else None
    )
