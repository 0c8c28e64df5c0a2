"""Endpoints: the list, one endpoint with its live chart, and what can be changed there."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils import timezone

from control_plane.common.errors import Invalid, NotFound, ServiceError
from control_plane.endpoints import selectors as endpoints
from control_plane.endpoints import services
from control_plane.endpoints.models import (
    MAX_REPLICAS,
    SLUG,
    SPECULATION_MODES,
    STRATEGIES,
    Endpoint,
    SpeculationWindow,
)
from control_plane.endpoints.rollout_plan import make_plan
from control_plane.fleet import selectors as fleet
from control_plane.speculators import selectors as speculators
from web.page import Page, page
from web.rollouts import STEERING, rollout_context, steer
from web.series import Totals, by_position, by_source, points, totals, version_changes

SPAN = timedelta(hours=24)


def endpoint_rows(page: Page) -> list[dict[str, Any]]:
    """Each endpoint with its active version and the last day's speed: three queries, however many endpoints."""
    assert page.project is not None
    found = list(endpoints.endpoints(page.principal, project_id=page.project.id).order_by("name"))
    active = speculators.active_version_refs([page.project.id])
    recent: dict[str, list[SpeculationWindow]] = {}
    for window in SpeculationWindow.objects.filter(
        endpoint__in=found, arm="adaptive", ended_at__gte=timezone.now() - SPAN
    ).only("endpoint_id", "requests", "completion_tokens", "decode_seconds", "steps", "accepted"):
        recent.setdefault(window.endpoint_id, []).append(window)
    rows = []
    for endpoint in found:
        total = totals(recent.get(endpoint.id, []))
        rows.append(
            {
                "endpoint": endpoint,
                "version": active.get((endpoint.project_id, endpoint.model_id)),
                "acceptance_length": total.acceptance_length,
                "tokens_per_second": total.tokens_per_second,
            }
        )
    return rows


@page("web:endpoints", "endpoint:read")
def index(page: Page) -> HttpResponse:
    values: dict[str, str] = {}
    error = ""
    if page.request.method == "POST":
        page.require("endpoint:write")
        values = page.request.POST.dict()  # type: ignore[assignment]
        try:
            if undeleted := values.pop("undelete", ""):
                endpoint, done = _undelete(page, undeleted), "is back"
            else:
                endpoint, done = _create(page, values), "was created"
            messages.success(page.request, f"{endpoint.name} {done}.", extra_tags="good")
            return redirect("web:endpoint", page.project.id, endpoint.id)  # type: ignore[union-attr]
        except ServiceError as problem:
            if isinstance(problem, NotFound):
                raise
            error = problem.detail
    assert page.project is not None
    deleted = endpoints.endpoints(page.principal, project_id=page.project.id, deleted=True)
    return page.render(
        "web/endpoints.html",
        {
            "endpoints": endpoint_rows(page),
            "deleted": [(row, services.undelete_until(row)) for row in deleted.order_by("-deleted_at")],
            "catalogue": endpoints.catalogue(),
            "modes": SPECULATION_MODES,
            "may_write": page.may("endpoint:write"),
            "values": values,
            "error": error,
        },
        status=400 if error else 200,
    )


def _create(page: Page, values: dict[str, str]) -> Endpoint:
    name, mode = values.get("name", ""), values.get("speculation_mode", "")
    try:
        SLUG(name)
    except ValidationError:
        raise Invalid("A name has lower-case letters, digits, dots and hyphens, 63 at most.", pointer="/name") from None
    model = endpoints.catalogue().filter(id=values.get("model", "")).first()
    if model is None or mode not in SPECULATION_MODES:
        raise Invalid("Choose a model and a speculation mode from the lists.")
    assert page.project is not None
    return services.create_endpoint(
        page.project,
        name=name,
        model=model,
        actor=page.principal.actor,
        request_id=page.request_id,
        speculation_mode=mode,
    )


def _undelete(page: Page, endpoint_id: str) -> Endpoint:
    found = endpoints.endpoint_or_deleted(page.principal, endpoint_id, "endpoint:write")
    if page.project is None or found.project_id != page.project.id:
        raise NotFound
    return services.undelete_endpoint(found, actor=page.principal.actor, request_id=page.request_id)


def _endpoint(page: Page, endpoint_id: str, permission: str = "endpoint:read") -> Endpoint:
    """The endpoint, which must be in the project of the path."""
    endpoint = endpoints.endpoint(page.principal, endpoint_id, permission)
    if page.project is None or endpoint.project_id != page.project.id:
        return endpoints.endpoint(page.principal, "")
    return endpoint


@page("web:endpoints", "endpoint:read")
def detail(page: Page, endpoint_id: str) -> HttpResponse:
    endpoint = _endpoint(page, endpoint_id)
    windows = list(endpoints.windows(endpoint, since=timezone.now() - SPAN))
    adaptive = [row for row in windows if row.arm == "adaptive"]
    live = totals(adaptive or windows)
    return page.render(
        "web/endpoint.html",
        {
            "endpoint": endpoint,
            "live": {
                "tokens_per_second": live.tokens_per_second,
                "acceptance_length": live.acceptance_length,
                "requests": live.requests,
                "span": "last 24 hours",
            },
            "holdout": totals(row for row in windows if row.arm == "static"),
            "relearning": bool(adaptive and adaptive[-1].relearning),
            "version": speculators.active_version_ref(endpoint),
            "refusals": fleet.refusals(endpoint_id=endpoint.id),
            "positions": by_position(adaptive),
            "sources": by_source(adaptive),
            "events": endpoints.events_of(endpoint)[:20],
            **rollout_context(page, endpoint),
            "modes": SPECULATION_MODES,
            "strategies": STRATEGIES,
            "inference_url": settings.SLIPSTREAM_PUBLIC_INFERENCE_URL,
            "may_write": page.may("endpoint:write"),
        },
    )


@page("web:endpoints", "endpoint:read")
def series(page: Page, endpoint_id: str) -> HttpResponse:
    """The chart's data: JSON, or CSV with `?format=csv`."""
    endpoint = _endpoint(page, endpoint_id)
    rows = [row for row in endpoints.windows(endpoint, since=timezone.now() - SPAN) if row.arm == "adaptive"]
    versions = speculators.versions(page.principal, project_id=endpoint.project_id)
    label = {version: f"v{number}" for version, number in versions.values_list("id", "number")}
    found = points(rows)
    if page.request.GET.get("format") == "csv":
        response = HttpResponse(content_type="text/csv")
        response["Content-Disposition"] = f'attachment; filename="{endpoint.name}-speed.csv"'
        writer = csv.writer(response)
        writer.writerow(["at", "tokens_per_second", "acceptance_length", "requests", "speculator_version"])
        for point in found:
            version = label.get(point.speculator_version_id or "", "static")
            writer.writerow(
                [
                    point.at.isoformat(),
                    f"{point.tokens_per_second:.3f}",
                    f"{point.acceptance_length:.4f}",
                    point.requests,
                    version,
                ]
            )
        return response
    changes = version_changes(rows)
    return JsonResponse(
        {
            "points": [
                {
                    "t": point.at.timestamp(),
                    "tokens_per_second": round(point.tokens_per_second, 3),
                    "acceptance_length": round(point.acceptance_length, 4),
                    "requests": point.requests,
                    "version": label.get(point.speculator_version_id or "", "static"),
                }
                for point in found
            ],
            "versions": [{"t": at.timestamp(), "label": label.get(version, "?")} for at, version in changes],
            "summary": _summary(rows, label),
        }
    )


def _summary(rows: list[SpeculationWindow], label: dict[str, str]) -> str:
    """One sentence: what the newest version brought, compared with everything before it."""
    if not rows:
        return "No adaptive requests in the last 24 hours. Send some, and their speed appears here within seconds."
    newest = rows[-1].speculator_version_id
    now = totals(row for row in rows if row.speculator_version_id == newest)
    said = f"{_speed(now)} with {label.get(newest or '', 'the static speculator and memory')}"
    earlier = [row for row in rows if row.speculator_version_id != newest]
    return f"In the last 24 hours: {said}{f'; {_speed(totals(earlier))} before' if earlier else ''}."


def _speed(total: Totals) -> str:
    length, speed = total.acceptance_length or 1.0, total.tokens_per_second or 0.0
    return f"acceptance length {length:.2f} at {speed:.0f} tokens/s per request"


_RANGES = {"max_lookahead": (0, 16), "min_replicas": (1, MAX_REPLICAS), "max_replicas": (1, MAX_REPLICAS)}


def _numbers(posted: Mapping[str, str]) -> dict[str, int]:
    """Those that were sent. Raises Invalid for what is no number of its range."""
    found = {}
    for name, (low, high) in _RANGES.items():
        if name in posted:
            text = posted[name]
            if not (text.isascii() and text.isdigit() and len(text) < 5 and low <= int(text) <= high):
                raise Invalid(f"{name.replace('_', ' ').capitalize()} must lie between {low} and {high}.")
            found[name] = int(text)
    return found


@page("web:endpoints", "endpoint:write")
def action(page: Page, endpoint_id: str) -> HttpResponse:
    """Start, stop, delete, change the policy or the replicas, steer a rollout."""
    endpoint = _endpoint(page, endpoint_id, "endpoint:write")
    posted = page.request.POST
    audit: dict[str, Any] = {"actor": page.principal.actor, "request_id": page.request_id}
    if posted.get("desired_state") == "deleted":
        page.principal.require_recent_authentication()
        services.set_desired_state(endpoint, "deleted", **audit)
        messages.success(page.request, f"{endpoint.name} is being deleted.", extra_tags="good")
        return redirect("web:endpoints", endpoint.project_id)
    try:
        if posted.get("desired_state") in ("running", "stopped"):
            services.set_desired_state(endpoint, posted["desired_state"], **audit)
        elif posted.get("rollout") in STEERING:
            steer(endpoint, posted["rollout"], **audit)
        elif posted.get("speculation_mode") in SPECULATION_MODES:
            changes = {"speculation_mode": posted["speculation_mode"], **_numbers(posted)}
            plan = make_plan(posted.get("strategy") or "immediate")
            services.update_endpoint(endpoint, changes, plan, if_match=f'"{posted.get("row_version", "")}"', **audit)
        else:
            raise Invalid("Choose a speculation mode and a lookahead between 0 and 16.")
        messages.success(page.request, "Saved. Nodes apply it within seconds.", extra_tags="good")
    except ServiceError as problem:
        messages.error(page.request, problem.detail, extra_tags="bad")
    return redirect("web:endpoint", endpoint.project_id, endpoint.id)
