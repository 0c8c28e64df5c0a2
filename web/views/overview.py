"""The first page: what happened today, and what to look at next."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils import timezone

from control_plane.billing import selectors as billing
from control_plane.endpoints.models import SpeculationWindow
from control_plane.speculators import selectors as speculators
from control_plane.training import selectors as training
from web.page import Page, page
from web.series import totals
from web.views.endpoints import endpoint_rows
from web.views.runs import shown_runs
from web.views.usage import day_start


@page("web:overview", "project:read")
def overview(page: Page) -> HttpResponse:
    assert page.project is not None
    now, today = timezone.now(), day_start()
    project, organization_id = page.project, page.project.organization_id
    used = billing.usage(page.principal, organization_id, start=today, end=now, project_id=project.id)[0]
    speculated = totals(
        SpeculationWindow.objects.filter(endpoint__in=page.project.endpoints.all(), arm="adaptive", ended_at__gte=today)
    )
    may_see_money = page.may("statement:read")
    spend = None
    if may_see_money:
        month = billing.statement(page.principal, organization_id, month=billing.month_start(now), now=now)
        spend = sum(line.amount_pico for line in month.lines)
    return page.render(
        "web/overview.html",
        {
            "today": {**used, "acceptance_length": speculated.acceptance_length},
            "may_see_money": may_see_money,
            "spend": spend,
            "month": today.strftime("%B %Y"),
            "endpoints": endpoint_rows(page) if page.may("endpoint:read") else [],
            "runs": shown_runs(training.runs(page.principal, project_id=page.project.id))[:5],
            "policy": speculators.traffic_policy(page.principal, page.project.id),
            "traffic": training.traffic_summary(page.project),
        },
    )
