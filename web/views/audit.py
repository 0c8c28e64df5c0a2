"""The audit log: filtered, verified, and to be had as a file."""

from __future__ import annotations

from datetime import UTC, datetime, time
from urllib.parse import urlencode

from django.http import HttpResponse
from django.utils.dateparse import parse_date

from control_plane.tenants import audit as chain
from control_plane.tenants.audit_api import MAX_VERIFIED
from control_plane.tenants.audit_log import AuditFilter, audit_events
from web.page import Page, page

PAGE = 50
FILTERS = ("action", "actor", "target", "start", "end")


@page("web:audit", "audit:read")
def index(page: Page) -> HttpResponse:
    assert page.organization is not None
    asked = page.request.GET
    filters = {name: asked.get(name, "").strip()[:64].replace("\x00", "") for name in FILTERS}
    days = {name: _midnight(filters[name]) for name in ("start", "end")}
    wanted = AuditFilter(
        organization_id=page.organization.id,
        action=filters["action"] or None,
        actor=filters["actor"] or None,
        target=filters["target"] or None,
        start=days["start"],
        end=days["end"],
    )
    rows = audit_events(page.principal, wanted).order_by("-number")
    before = asked.get("before", "")
    if before.isascii() and before.isdecimal() and len(before) < 19:
        rows = rows.filter(number__lt=int(before))
    events = list(rows[:PAGE])
    chosen = {name: value for name, value in filters.items() if value}
    context = {
        "events": events,
        "older": events[-1].number if len(events) == PAGE and events[-1].number > 1 else None,
        "filters": filters,
        "chosen": urlencode(chosen),
        "export": urlencode(
            {"organization_id": page.organization.id}
            | {name: chosen[name] for name in ("action", "actor", "target") if name in chosen}
            | {name: day.isoformat() for name, day in days.items() if day is not None}
        ),
        "verification": chain.verify(page.organization.id, limit=MAX_VERIFIED) if asked.get("verify") else None,
    }
    return page.render("web/audit.html", context)


def _midnight(text: str) -> datetime | None:
    """A day's first moment (UTC); None for what is no day."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return None if day is None else datetime.combine(day, time(), UTC)
