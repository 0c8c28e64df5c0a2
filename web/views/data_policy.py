"""Consent: what is kept of a project's traffic, and how it is deleted."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import Invalid, ServiceError
from control_plane.speculators import selectors as speculators
from control_plane.speculators import services
from control_plane.speculators.models import COALESCE_BOUNDS
from control_plane.training import erasure
from control_plane.training import selectors as training
from web.page import Page, page

# What the page says of each choice; their names are the API's.
CHOICES = {
    "redaction": (
        ("drop", "Don't store records in which there is any"),
        ("mask", "Mask them; training leaves the places out"),
        ("off", "Store everything as it is"),
    ),
    "memory_scope": (
        ("project", "All requests of the project"),
        ("end_user", "Only requests that name the same end user"),
    ),
    "stream_coalescing": (
        ("none", "As they come (fastest)"),
        ("tokens", "In parts of a fixed number of tokens"),
        ("interval", "At fixed times"),
    ),
}


@page("web:data-policy", "traffic_policy:read")
def detail(page: Page) -> HttpResponse:
    assert page.project is not None
    error = ""
    if page.request.method == "POST":
        try:
            _change(page)
            return redirect("web:data-policy", page.project.id)
        except ServiceError as problem:
            if problem.status == 403:
                raise
            error = problem.detail
    return page.render(
        "web/data_policy.html",
        {
            "policy": speculators.traffic_policy(page.principal, page.project.id),
            "choices": CHOICES,
            "traffic": training.traffic_summary(page.project),
            "receipts": training.erasures(page.project).order_by("-requested_at")[:20],
            "may_write": page.may("traffic_policy:write"),
            "may_delete": page.may("traffic:delete"),
            "error": error,
        },
        status=400 if error else 200,
    )


def _change(page: Page) -> None:
    assert page.project is not None
    posted = page.request.POST
    audit: dict[str, Any] = {"actor": page.principal.actor, "request_id": page.request_id}
    if posted.get("action") in ("delete", "delete-end-user"):
        page.require("traffic:delete")
        page.principal.require_recent_authentication()
        if posted["action"] == "delete":
            erasure.request_erasure(page.project, **audit)
        elif end_user := posted.get("end_user", ""):
            erasure.request_end_user_erasure(page.project, end_user, **audit)
        else:
            raise Invalid("Say whose traffic is to be deleted.")
        messages.success(page.request, "The traffic is being deleted; the receipt appears below.", extra_tags="good")
        return
    page.require("traffic_policy:write")
    try:
        sample_rate, retention_days = float(posted["sample_rate"]), int(posted["retention_days"])
        parts: dict[str, Any] = {name: int(posted[name]) for name in COALESCE_BOUNDS if name in posted}
    except (KeyError, ValueError):
        raise Invalid("The share, the retention and the parts must be numbers.") from None
    chosen: dict[str, Any] = {name: posted[name] for name in services.POLICY_CHOICES if name in posted}
    capture = posted.get("capture") == "on"
    services.set_traffic_policy(
        page.project,
        capture=capture,
        sample_rate=sample_rate,
        retention_days=retention_days,
        **chosen,
        **parts,
        **audit,
    )
    messages.success(page.request, f"Saved: capture is {'on' if capture else 'off'}.", extra_tags="good")
