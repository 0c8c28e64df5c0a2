"""Pages of an organization: members, audit log; and the operators' page of nodes."""

from __future__ import annotations

from django.http import HttpResponse

from control_plane.fleet import selectors as fleet
from control_plane.tenants import selectors as tenants
from control_plane.tenants.models import AuditEvent
from control_plane.tenants.permissions import PERMISSIONS, ROLES
from web.page import Page, page

PAGE = 50


@page("web:members", "member:read")
def members(page: Page) -> HttpResponse:
    assert page.organization is not None
    return page.render(
        "web/members.html",
        {
            "members": tenants.memberships(page.principal, page.organization.id).order_by("created_at"),
            "roles": ROLES,
            "permissions": [(name, [role in allowed for role in ROLES]) for name, allowed in PERMISSIONS.items()],
        },
    )


@page("web:audit", "audit:read")
def audit(page: Page) -> HttpResponse:
    assert page.organization is not None
    rows = AuditEvent.objects.filter(organization=page.organization).order_by("-number")
    before = page.request.GET.get("before", "")
    if before.isdecimal() and len(before) < 19:
        rows = rows.filter(number__lt=int(before))
    events = list(rows[:PAGE])
    older = events[-1].number if len(events) == PAGE and events[-1].number > 1 else None
    return page.render("web/audit.html", {"events": events, "older": older})


@page("web:nodes")
def nodes(page: Page) -> HttpResponse:
    return page.render("web/nodes.html", {"nodes": fleet.nodes(page.principal).order_by("name")})
