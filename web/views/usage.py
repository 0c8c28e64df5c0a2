"""Usage of a project and the statement of an organization."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.http import HttpResponse
from django.utils import timezone

from control_plane.billing import export
from control_plane.billing import selectors as billing
from control_plane.endpoints import selectors as endpoints
from control_plane.tenants.models import ApiKey, Project
from web.page import Page, page

GROUPS = ("day", "endpoint", "key", "model", "status")
SPANS = (1, 7, 30, 90)
COLUMNS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "drafted", "accepted")


def day_start(days_ago: int = 0) -> datetime:
    """The first moment of a UTC day."""
    today = timezone.now().astimezone(UTC).date()
    return datetime.combine(today - timedelta(days=days_ago), time(), UTC)


def _choice(value: str | None, allowed: tuple[Any, ...], default: Any) -> Any:
    return next((item for item in allowed if str(item) == value), default)


@page("web:usage", "usage:read")
def usage(page: Page) -> HttpResponse:
    assert page.project is not None
    asked = page.request.GET
    group_by = _choice(asked.get("group_by"), GROUPS, "day")
    days = _choice(asked.get("days"), SPANS, 7)
    rows = billing.usage(
        page.principal,
        page.project.organization_id,
        start=day_start(days - 1),
        end=timezone.now() + timedelta(seconds=1),
        group_by=[group_by],
        project_id=page.project.id,
    )
    names = _names(page, page.project, group_by)
    column = billing.GROUPS[group_by][1]
    for row in rows:
        value = str(row[billing.GROUPS[group_by][0]])
        row["label"] = names.get(value, value)
    if asked.get("format") == "csv":
        return _csv(f"usage-by-{group_by}.csv", column, rows)
    return page.render(
        "web/usage.html",
        {
            "rows": rows,
            "group_by": group_by,
            "groups": GROUPS,
            "days": days,
            "spans": SPANS,
            "chart": [
                (row["label"], row["completion_tokens"], f"{row['completion_tokens']:,}".replace(",", "\u202f"))
                for row in rows[-31:]
            ],
        },
    )


def _names(page: Page, project: Project, group_by: str) -> dict[str, str]:
    """Ids as people know them."""
    if group_by == "endpoint" and page.may("endpoint:read"):
        return dict(endpoints.endpoints(page.principal, project_id=project.id).values_list("id", "name"))
    if group_by == "key" and page.may("api_key:read"):
        return dict(ApiKey.objects.filter(project=project).values_list("id", "name"))
    return {}


def _csv(filename: str, column: str, rows: list[dict[str, Any]]) -> HttpResponse:
    """Ids, not names, in the first column: names are what people typed, and spreadsheets run formulas."""
    response = HttpResponse(content_type="text/csv")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    writer = csv.writer(response)
    writer.writerow([column, *COLUMNS])
    for row in rows:
        first = next(value for name, value in row.items() if name not in (*COLUMNS, "steps", "label"))
        writer.writerow([first, *(row[name] for name in COLUMNS)])
    return response


@page("web:statement", "statement:read")
def statement(page: Page) -> HttpResponse:
    assert page.organization is not None
    now = timezone.now()
    month = billing.month_start(now)
    asked = page.request.GET.get("month", "")
    try:
        month = min(month, datetime.strptime(asked, "%Y-%m").replace(tzinfo=UTC)) if asked else month
    except ValueError:
        pass  # an unreadable month shows the current one
    found = billing.statement(page.principal, page.organization.id, month=month, now=now)
    label = month.strftime("%Y-%m")
    if page.request.GET.get("format") == "csv":
        response = HttpResponse(export.as_csv(found), content_type="text/csv")
        response["Content-Disposition"] = f'attachment; filename="statement-{label}.csv"'
        return response
    return page.render(
        "web/statement.html",
        {
            "statement": found,
            "month": label,
            "month_name": month.strftime("%B %Y"),
            "previous": (month - timedelta(days=1)).strftime("%Y-%m"),
        },
    )
