"""What every page shares: the signed-in principal, the project or organization in the path, the frame's navigation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from allauth.core import exceptions as allauth_exceptions
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from control_plane.common.errors import Forbidden, NotFound, ReauthenticationRequired
from control_plane.common.isolation import narrowed
from control_plane.tenants import selectors as tenants
from control_plane.tenants.models import Organization, Project, User
from control_plane.tenants.principal import Principal, principal_of_session

NAV_PROJECT = [
    ("web:overview", "Overview", "project:read"),
    ("web:endpoints", "Endpoints", "endpoint:read"),
    ("web:speculators", "Speculators", "speculator:read"),
    ("web:runs", "Training runs", "training:read"),
    ("web:keys", "API keys", "api_key:read"),
    ("web:usage", "Usage", "usage:read"),
    ("web:data-policy", "Data policy", "traffic_policy:read"),
]
NAV_ORGANIZATION = [
    ("web:statement", "Statement", "statement:read"),
    ("web:members", "Members", "member:read"),
    ("web:webhooks", "Webhooks", "webhook:read"),
    ("web:audit", "Audit log", "audit:read"),
]


@dataclass(frozen=True, slots=True)
class Page:
    """One request for a page. `project` is the one in the path, or the one that the navigation shows."""

    request: HttpRequest
    principal: Principal
    project: Project | None
    organization: Organization | None
    section: str

    def may(self, permission: str) -> bool:
        return self.organization is not None and self.principal.may(permission, self.organization.id)

    @property
    def user(self) -> User:
        assert isinstance(self.request.user, User), "pages are for people who are signed in"
        return self.request.user

    def require(self, permission: str) -> None:
        if not self.may(permission):
            raise Forbidden(f"This needs the permission {permission}.")

    @property
    def request_id(self) -> str:
        return str(getattr(self.request, "request_id", ""))

    def render(self, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        organization_id = self.organization.id if self.organization else ""
        return render(
            self.request,
            template,
            {
                "project": self.project,
                "organization": self.organization,
                "projects": tenants.projects(self.principal).select_related("organization").order_by("name"),
                "role": self.principal.roles.get(organization_id, ""),
                "section": self.section,
                "nav_project": [(name, label) for name, label, needs in NAV_PROJECT if self.may(needs)],
                "nav_organization": [(name, label) for name, label, needs in NAV_ORGANIZATION if self.may(needs)],
                **context,
            },
            status=status,
        )


def remembered_project(
    request: HttpRequest, principal: Principal, organization_id: str | None = None
) -> Project | None:
    """The project that the person last looked at, if it is still theirs, else their first."""
    rows = tenants.projects(principal).select_related("organization").order_by("created_at")
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    remembered = request.session.get("project")
    return (rows.filter(id=remembered).first() if remembered else None) or rows.first()


def page(
    section: str, permission: str | None = None
) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Turn `view(page, …)` into a view. Another tenant's object is the same 404 as an absent one."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def wrapped(
            request: HttpRequest, project_id: str | None = None, organization_id: str | None = None, **arguments: Any
        ) -> HttpResponse:
            principal = principal_of_session(request.user, request.session)  # type: ignore[arg-type]
            project: Project | None
            organization: Organization | None
            try:
                if "\x00" in "".join(map(str, request.POST.values())):  # PostgreSQL has no such string
                    raise NotFound
                if project_id is not None:
                    project = tenants.project(principal, project_id)
                    request.session["project"] = project.id
                    organization = project.organization
                elif organization_id is not None:
                    organization = tenants.organization(principal, organization_id)
                    project = remembered_project(request, principal, organization.id)
                else:
                    project = remembered_project(request, principal)
                    organization = project.organization if project else tenants.organizations(principal).first()
                shown = Page(request, principal, project, organization, section)
                if permission is not None:
                    shown.require(permission)
                with narrowed(principal.organization_ids):
                    return view(shown, **arguments)
            except ReauthenticationRequired:
                # Its middleware asks for the password or a code, and then repeats the request as it was.
                raise allauth_exceptions.ReauthenticationRequired from None
            except NotFound:
                if principal.barred:
                    return render(request, "web/second_factor_needed.html", status=404)
                return render(request, "web/not_found.html", status=404)
            except Forbidden as error:
                return render(request, "web/forbidden.html", {"detail": error.detail}, status=403)

        return wrapped

    return decorate
