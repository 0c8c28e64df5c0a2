"""Pages of an organization: members; and the operators' page of nodes."""

from __future__ import annotations

from django.http import HttpResponse

from control_plane.fleet import selectors as fleet
from control_plane.tenants import selectors as tenants
from control_plane.tenants.permissions import PERMISSIONS, ROLES
from web.page import Page, page


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


@page("web:nodes")
def nodes(page: Page) -> HttpResponse:
    return page.render("web/nodes.html", {"nodes": fleet.nodes(page.principal).order_by("name")})
