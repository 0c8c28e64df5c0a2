"""From the link in an invitation's mail into the organization.

The link is opened by anybody; its token moves into the session at once, so that it is in no address and no referrer
while the person signs in or up.
"""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from control_plane.common.errors import ServiceError
from control_plane.tenants import invitations
from control_plane.tenants.accounts import INVITATION
from web.page import Page, page


@require_safe
def arrive(request: HttpRequest, token: str) -> HttpResponse:
    request.session[INVITATION] = token[:200]
    return redirect("web:join")


@page("web:join")
def _join(page: Page) -> HttpResponse:
    token, error = page.request.session.get(INVITATION, ""), ""
    found = invitations.find(token)
    if page.request.method == "POST":
        try:
            joined = invitations.accept(token, user=page.user, request_id=page.request_id)
            del page.request.session[INVITATION]
            messages.success(page.request, f"You are a member of {joined.organization.name} now.", extra_tags="good")
            return redirect("web:home")
        except ServiceError as problem:
            error = problem.detail
    gone = not error and found is None
    status = 400 if error else 404 if gone else 200
    return page.render("web/join.html", {"invitation": found, "error": error}, status=status)


def join(request: HttpRequest) -> HttpResponse:
    """Who is not signed in is told what for, before signing in or up."""
    if request.user.is_authenticated:
        return _join(request)
    found = invitations.find(request.session.get(INVITATION, ""))
    return render(request, "account/invited.html", {"invitation": found}, status=200 if found else 404)
