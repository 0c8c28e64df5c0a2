"""The way to the project that one looked at last, the first organization and project, and one's own account."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import Invalid, ServiceError
from control_plane.tenants import selectors as tenants
from control_plane.tenants import services
from control_plane.tenants.accounts import has_second_factor
from control_plane.tenants.models import Project
from web.page import Page, page


@page("web:home")
def home(page: Page) -> HttpResponse:
    if page.project is None:
        return redirect("web:start")
    return redirect("web:overview", page.project.id)


@page("web:home")
def switch(page: Page) -> HttpResponse:
    project = tenants.project(page.principal, page.request.GET.get("project", ""))
    return redirect("web:overview", project.id)


@page("web:start")
def start(page: Page) -> HttpResponse:
    """Found an organization with its first project, or add a project to an organization."""
    error = ""
    if page.request.method == "POST":
        try:
            project = _founded(page)
            messages.success(page.request, f"{project.name} is ready for its first endpoint.", extra_tags="good")
            return redirect("web:overview", project.id)
        except ServiceError as problem:
            error = problem.detail
    own = tenants.organizations(page.principal).order_by("created_at")
    context = {
        "error": error,
        "own": [row for row in own if page.principal.may("project:write", row.id)],
        "barred": page.principal.barred,
        "posted": page.request.POST,
    }
    return page.render("web/start.html", context, status=400 if error else 200)


@transaction.atomic
def _founded(page: Page) -> Project:
    posted = page.request.POST
    name = _name(posted.get("project", ""), "project")
    if posted.get("organization"):
        organization = tenants.organization(page.principal, posted["organization"], "project:write")
    else:
        called = _name(posted.get("name", ""), "organization")
        organization = services.create_organization(called, owner=page.user, request_id=page.request_id)
    return services.create_project(organization, name=name, actor=page.principal.actor, request_id=page.request_id)


def _name(text: str, what: str) -> str:
    if not 0 < len(text.strip()) <= 120:
        raise Invalid(f"Give the {what} a name of at most 120 characters.", pointer=f"/{what}")
    return text.strip()


@page("web:account")
def account(page: Page) -> HttpResponse:
    """What protects the person's own account."""
    return page.render(
        "web/account.html",
        {
            "has_second_factor": has_second_factor(page.user.id),
            "num_sessions": UserSession.objects.filter(user=page.user).count(),
            "own": [
                (row, page.principal.roles[row.id])
                for row in tenants.organizations(page.principal).order_by("created_at")
            ],
            "barred": page.principal.barred,
        },
    )
