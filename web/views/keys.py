"""API keys of a project: made for as much as they need, shown once, revoked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect

from control_plane.common.errors import Invalid, NotFound
from control_plane.endpoints import selectors as endpoints
from control_plane.tenants import selectors as tenants
from control_plane.tenants import services
from control_plane.tenants.models import INFERENCE_SCOPES, ApiKey
from control_plane.tenants.serializers import ApiKeyCreate
from web.page import Page, page

# What the page says of each scope; their names are the API's.
SCOPES = {"inference:read": "List the endpoints", "inference:write": "Generate"}


def _state(key: ApiKey) -> str:
    return "ready" if key.is_live else "revoked" if key.revoked_at else "expired"


@page("web:keys", "api_key:read")
def index(page: Page) -> HttpResponse:
    assert page.project is not None
    posted = page.request.POST
    secret = ""
    values: dict[str, Any] = {"scopes": INFERENCE_SCOPES}
    errors: dict[str, list[str]] = {}
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
        given = _given(posted)
        reader = ApiKeyCreate(data={"project_id": page.project.id, **given})
        if reader.is_valid():
            wanted = {name: value for name, value in reader.validated_data.items() if name != "project_id"}
            try:
                _, secret = services.create_api_key(page.project, **wanted, **audit)
            except Invalid as refused:
                errors = {(refused.pointer or "/name").removeprefix("/"): [refused.detail]}
        else:
            errors = {name: list(_said(found, given.get(name))) for name, found in reader.errors.items()}
        if errors:
            values = given | {"allowed_ips": posted.get("allowed_ips", "")}
    keys = ApiKey.objects.filter(project=page.project).order_by("-created_at")
    named = endpoints.endpoints(page.principal, project_id=page.project.id).order_by("name")
    response = page.render(
        "web/keys.html",
        {
            "keys": [{"key": key, "state": _state(key)} for key in keys],
            "scopes": SCOPES,
            "endpoints": named.values_list("name", flat=True),
            "secret": secret,
            "values": values,
            "errors": errors,
            "may_write": page.may("api_key:write"),
        },
        status=400 if errors else 200,
    )
    if secret:
        response["Cache-Control"] = "no-store"
    return response


def _given(posted: QueryDict) -> dict[str, Any]:
    """The form as the API's body. No endpoint and no network chosen: all. Times are UTC."""
    return {
        "name": posted.get("name", ""),
        "scopes": posted.getlist("scopes"),
        "endpoints": posted.getlist("endpoints"),
        "allowed_ips": posted.get("allowed_ips", "").replace(",", " ").split(),
        "expires_at": posted.get("expires_at") or None,
    }


def _said(found: Any, given: Any) -> Iterator[str]:
    """What is wrong with one field; of a list, with the item that it is about."""
    if isinstance(found, dict):
        for index, problems in found.items():
            yield from (f"{given[index]}: {problem}" for problem in problems)
    else:
        yield from map(str, found)
