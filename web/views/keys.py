"""API keys of a project: made, shown once, revoked."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import NotFound
from control_plane.tenants import selectors as tenants
from control_plane.tenants import services
from control_plane.tenants.models import ApiKey
from web.page import Page, page


def _state(key: ApiKey) -> str:
    return "ready" if key.is_live else "revoked" if key.revoked_at else "expired"


@page("web:keys", "api_key:read")
def index(page: Page) -> HttpResponse:
    assert page.project is not None
    posted = page.request.POST
    secret = error = ""
    if page.request.method == "POST":
        page.require("api_key:write")
        audit: dict[str, Any] = {"actor": page.principal.actor, "request_id": page.request_id}
        if posted.get("action") == "revoke":
            key = tenants.api_key(page.principal, posted.get("key", ""), "api_key:write")
            if key.project_id != page.project.id:
                raise NotFound
            services.revoke_api_key(key, **audit)
            messages.success(page.request, f"{key.name} is revoked; nodes refuse it within seconds.", extra_tags="good")
            return redirect("web:keys", page.project.id)
        name = posted.get("name", "").strip()
        if 0 < len(name) <= 120:
            _, secret = services.create_api_key(page.project, name=name, **audit)
        else:
            error = "Give the key a name of at most 120 characters."
    keys = ApiKey.objects.filter(project=page.project).order_by("-created_at")
    response = page.render(
        "web/keys.html",
        {
            "keys": [{"key": key, "state": _state(key)} for key in keys],
            "secret": secret,
            "error": error,
            "may_write": page.may("api_key:write"),
        },
        status=400 if error else 200,
    )
    if secret:
        response["Cache-Control"] = "no-store"
    return response
