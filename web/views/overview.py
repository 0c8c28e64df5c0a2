"""The first page: what happened today, and what to look at next."""

from __future__ import annotations

from datetime import UTC, datetime, time

from django.db.models import Count, Max, Min, Sum
from django.http import HttpResponse
from django.utils import timezone

from control_plane.billing import selectors as billing
from control_plane.endpoints.models import SpeculationWindow
from control_plane.speculators import selectors as speculators
from control_plane.tenants.models import Project
from control_plane.training import selectors as training
from control_plane.training.models import TrafficSegment
from web.page import Page, page
from web.series import totals
from web.views.endpoints import endpoint_rows
from web.views.runs import shown_runs


def traffic_summary(project: Project) -> dict[str, object]:
    """What is stored of the project's traffic: {records, tokens, segments, oldest}."""
    found = TrafficSegment.objects.filter(project=project).aggregate(
        records=Sum("records"), tokens=Sum("tokens"), segments=Count("id"), oldest=Min("first_at"), newest=Max("last_at")
    )
    return {name: value if value is not None or name in ("oldest", "newest") else 0 for name, value in found.items()}


@page("web:overview", "project:read")
def overview(page: Page) -> HttpResponse:
    assert page.project is not None
    today = datetime.combine(timezone.now().astimezone(UTC).date(), time(), UTC)
    used = billing.usage_totals(page.project, start=today)
    speculated = totals(
        SpeculationWindow.objects.filter(
            endpoint__in=page.project.endpoints.all(), arm="adaptive", ended_at__gte=today
        )
    )
    may_see_money = page.may("statement:read")
    statement = billing.statement(page.organization, today.strftime("%Y-%m")) if may_see_money else None
    return page.render(
        "web/overview.html",
        {
            "today": {**used, "acceptance_length": speculated.acceptance_length},
            "may_see_money": may_see_money,
            "spend": statement.total_pico if statement else None,
            "month": today.strftime("%B %Y"),
            "endpoints": endpoint_rows(page) if page.may("endpoint:read") else [],
            "runs": shown_runs(training.runs(page.principal, project_id=page.project.id))[:5],
            "policy": speculators.traffic_policy(page.principal, page.project.id),
            "traffic": traffic_summary(page.project),
        },
    )
