"""Webhooks of an organization: made, their secret shown once, tried, their deliveries read and replayed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import Conflict, Invalid, NotFound
from control_plane.common.pagination import page as page_of
from control_plane.webhooks import selectors, services, sources
from control_plane.webhooks.models import Webhook
from web.page import Page, page

PAGE = 30
OVERLAP_SECONDS = 86_400
CHOICES = ("*", *(f"{noun}.*" for noun in (*sources.STATES, sources.AUDIT)))


def _types(text: str) -> list[str]:
    return [part for part in text.replace(",", " ").split() if part]


@page("web:webhooks", "webhook:read")
def index(page: Page) -> HttpResponse:
    assert page.organization is not None
    posted = page.request.POST
    error, secret, made = "", "", None
    if page.request.method == "POST":
        page.require("webhook:write")
        url, types = posted.get("url", "").strip(), _types(posted.get("event_types", ""))
        if not 0 < len(url) <= 2000 or not 0 < len(types) <= 32 or len(posted.get("description", "")) > 200:
            error = "Give an address, and one to 32 types of events."
        else:
            try:
                made, secret = services.create_webhook(
                    page.organization,
                    url=url,
                    event_types=types,
                    description=posted.get("description", ""),
                    actor=page.principal.actor,
                    request_id=page.request_id,
                )
            except (Invalid, Conflict) as refused:
                error = refused.detail
    rows = selectors.webhooks(page.principal).filter(organization=page.organization).order_by("-id")
    context = {"webhooks": rows, "error": error, "secret": secret, "made": made, "choices": CHOICES, "posted": posted}
    return _unstored(page.render("web/webhooks.html", context | _may(page), status=400 if error else 200), secret)


@page("web:webhooks", "webhook:read")
def detail(page: Page, webhook_id: str) -> HttpResponse:
    assert page.organization is not None
    webhook = selectors.webhook(page.principal, webhook_id)
    if webhook.organization_id != page.organization.id:
        raise NotFound
    secret = error = ""
    if page.request.method == "POST":
        page.require("webhook:write")
        if page.request.POST.get("action") == "rotate":
            webhook, secret = services.rotate_secret(webhook, overlap_seconds=OVERLAP_SECONDS, **_who(page))
        else:
            try:
                return _act(page, webhook)
            except (Invalid, Conflict) as refused:
                error = refused.detail
    rows = selectors.deliveries(page.principal).filter(webhook=webhook)
    try:
        found, older = page_of(rows, limit=PAGE, after=page.request.GET.get("after") or None)
    except Invalid:
        found, older = page_of(rows, limit=PAGE)
    context = {"webhook": webhook, "deliveries": found, "older": older, "secret": secret, "error": error}
    return _unstored(page.render("web/webhook.html", context | _may(page), status=409 if error else 200), secret)


def _act(page: Page, webhook: Webhook) -> HttpResponse:
    """Raises Conflict."""
    posted = page.request.POST
    action = posted.get("action")
    if action == "delete":
        services.delete_webhook(webhook, **_who(page))
        messages.success(page.request, "The webhook is deleted.", extra_tags="good")
        return redirect("web:webhooks", webhook.organization_id)
    if action == "test":
        services.send_test(webhook, **_who(page))
        messages.success(page.request, "A test event is on its way.", extra_tags="good")
    elif action in ("enable", "disable"):
        services.update_webhook(webhook, {"enabled": action == "enable"}, **_who(page))
    elif action == "replay":
        delivery = selectors.delivery(page.principal, posted.get("delivery", ""), "webhook:write")
        if delivery.webhook_id != webhook.id:
            raise NotFound
        services.replay(delivery, **_who(page))
        messages.success(page.request, "The event is sent again.", extra_tags="good")
    return redirect("web:webhook", webhook.organization_id, webhook.id)


def _who(page: Page) -> dict[str, Any]:
    return {"actor": page.principal.actor, "request_id": page.request_id}


def _may(page: Page) -> dict[str, bool]:
    return {"may_write": page.may("webhook:write")}


def _unstored(response: HttpResponse, secret: str) -> HttpResponse:
    if secret:
        response["Cache-Control"] = "no-store"
    return response
