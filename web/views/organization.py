"""Pages of an organization: its members and invitations; and the operators' page of nodes."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import Invalid, ServiceError
from control_plane.fleet import selectors as fleet
from control_plane.tenants import invitations
from control_plane.tenants import selectors as tenants
from control_plane.tenants.permissions import PERMISSIONS, ROLES, outranks
from web.page import Page, page


@page("web:members", "member:read")
def members(page: Page) -> HttpResponse:
    assert page.organization is not None
    error = ""
    if page.request.method == "POST":
        page.require("member:write")
        try:
            _change(page)
            return redirect("web:members", page.organization.id)
        except ServiceError as problem:
            if problem.status == 403:
                raise
            error = problem.detail
    own = page.principal.roles[page.organization.id]
    return page.render(
        "web/members.html",
        {
            "members": tenants.memberships(page.principal, page.organization.id).order_by("created_at"),
            "invitations": tenants.invitations(page.principal, page.organization.id).order_by("-pk")[:50],
            "may_write": page.may("member:write"),
            "may_give": [role for role in ROLES if outranks(own, role)],
            "posted": page.request.POST,
            "error": error,
            "roles": ROLES,
            "permissions": [(name, [role in allowed for role in ROLES]) for name, allowed in PERMISSIONS.items()],
        },
        status=400 if error else 200,
    )


def _change(page: Page) -> None:
    """Invite, mail again or withdraw. Raises ServiceError."""
    assert page.organization is not None
    posted, audit = page.request.POST, {"request_id": page.request_id}
    page.principal.require_recent_authentication()
    if posted.get("action") == "invite":
        email, role = posted.get("email", "").strip(), posted.get("role", "")
        try:
            validate_email(email)
        except ValidationError:
            raise Invalid("Give the e-mail address of the person.", pointer="/email") from None
        if role not in ROLES:
            raise Invalid("Choose a role.", pointer="/role")
        invitations.invite(page.organization, email=email, role=role, principal=page.principal, **audit)
        messages.success(page.request, f"{email} is invited.", extra_tags="good")
        return
    rows = tenants.invitations(page.principal, page.organization.id)
    found = tenants.one_or_404(rows, posted.get("invitation", ""))
    if posted.get("action") == "resend":
        invitations.resend(found, principal=page.principal, **audit)
        messages.success(page.request, f"The invitation of {found.email} is sent again.", extra_tags="good")
    else:
        invitations.revoke(found, principal=page.principal, **audit)
        messages.success(page.request, f"The invitation of {found.email} is withdrawn.", extra_tags="good")


@page("web:nodes")
def nodes(page: Page) -> HttpResponse:
    return page.render("web/nodes.html", {"nodes": fleet.nodes(page.principal).order_by("name")})
