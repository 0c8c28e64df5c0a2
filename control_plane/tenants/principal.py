"""Whoever makes a request: a signed-in person or a service key, with a role in each of their organizations."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from control_plane.common.errors import Forbidden, NotFound, ReauthenticationRequired
from control_plane.tenants.permissions import allows, outranks

if TYPE_CHECKING:
    from control_plane.tenants.models import ServiceKey, User


@dataclass(frozen=True, slots=True)
class Principal:
    """actor: the typed id of the user or key. roles: organization id -> role. scopes: None means no narrowing.

    barred: organizations that the person belongs to and may not see before enabling a second factor.
    authenticated_at: when the person of a session last gave a password or a code (seconds since the epoch).
    needs: what was required of it so far, as (what, of what, organization): `meet` requires the same again.
    """

    actor: str
    roles: Mapping[str, str] = field(default_factory=dict)
    scopes: frozenset[str] | None = None
    barred: frozenset[str] = frozenset()
    authenticated_at: float | None = None
    is_operator: bool = False
    is_authenticated: bool = True
    needs: list[tuple[str, str, str]] = field(default_factory=list, compare=False, repr=False)

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
        self.needs.append(("permission", permission, organization_id))
        if not self.may(permission, organization_id):
            raise Forbidden(f"This needs the permission {permission}.")

    def require_rank(self, organization_id: str, role: str) -> None:
        """Raises Forbidden unless the principal may give, change and take this role there."""
        self.needs.append(("rank", role, organization_id))
        if not outranks(self.roles.get(organization_id, ""), role):
            raise Forbidden(f"Your role may not give, change or take the role {role}.")

    def organizations_with(self, permission: str) -> list[str]:
        return [organization for organization in self.organization_ids if self.may(permission, organization)]

    def require_recent_authentication(self) -> None:
        """Call it before a dangerous act. Raises ReauthenticationRequired for a person whose session last proved
        who it is more than SLIPSTREAM_SUDO_SECONDS ago: a borrowed browser shall not be enough. Keys pass."""
        self.needs.append(("recent_authentication", "", ""))
        if not self.is_person:
            return
        if self.authenticated_at is None or time.time() - self.authenticated_at > settings.SLIPSTREAM_SUDO_SECONDS:
            raise ReauthenticationRequired

    def require_second_factor_of(self, organization_id: str) -> None:
        """Raises Forbidden for a member of an organization that requires one, who has yet to set it up."""
        if organization_id in self.barred:
            raise Forbidden("This organization requires a second factor of you.", code="second_factor_required")

    def require_operator(self) -> None:
        self.needs.append(("operator", "", ""))
        if not self.is_operator:
            raise Forbidden("Only operators of the service may do this.")

    def will_need(self, permission: str, organization_id: str) -> None:
        """Who reads this answer again must have the permission by then: for answers that give the first role."""
        self.needs.append(("permission", permission, organization_id))

    def meet(self, needs: Sequence[Sequence[str]]) -> None:
        """Require what was required for an answer, before it is given once more. Raises as the methods above, and
        NotFound for an organization that the principal has left."""
        for what, subject, organization_id in needs:
            if organization_id:
                self.require_second_factor_of(organization_id)
                if organization_id not in self.roles:
                    raise NotFound
            if what == "permission":
                self.require(subject, organization_id)
            elif what == "rank":
                self.require_rank(organization_id, subject)
            elif what == "recent_authentication":
                self.require_recent_authentication()
            elif what == "operator":
                self.require_operator()
            else:
                raise AssertionError(what)


def principal_of_user(user: User, *, authenticated_at: float | None = None) -> Principal:
    from control_plane.tenants.accounts import has_second_factor
    from control_plane.tenants.models import Membership

    rows = Membership.objects.filter(user=user).values_list(
        "organization_id", "role", "organization__requires_second_factor"
    )
    roles = {organization: role for organization, role, _ in rows}
    strict = {organization for organization, _, requires in rows if requires}
    barred = frozenset(strict) if strict and not has_second_factor(user.id) else frozenset()
    return Principal(
        actor=user.id,
        roles={organization: role for organization, role in roles.items() if organization not in barred},
        barred=barred,
        authenticated_at=authenticated_at,
        is_operator=user.is_staff,
    )


def principal_of_session(user: User, session: SessionBase) -> Principal:
    """A signed-in person: as `principal_of_user`, with the moment of the session's last authentication."""
    records = get_authentication_records(SimpleNamespace(session=session), user)  # type: ignore[arg-type]
    return principal_of_user(user, authenticated_at=max((record["at"] for record in records), default=None))


def principal_of_key(key: ServiceKey) -> Principal:
    return Principal(
        actor=key.id, roles={key.organization_id: key.role}, scopes=frozenset(key.scopes) if key.scopes else None
    )
