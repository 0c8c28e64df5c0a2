"""Training runs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import NotFound, ServiceError
from control_plane.training import selectors as training
from control_plane.training import services
from control_plane.training.models import OPEN, TrainingRun
from web.page import Page, page

PAGE = 50
ARMS = ("static", "incumbent", "candidate")


def shown_runs(rows: QuerySet[TrainingRun]) -> list[TrainingRun]:
    """The newest runs, each with `is_open` for the templates."""
    found: list[Any] = list(rows.order_by("-created_at")[:PAGE])
    for run in found:
        run.is_open = run.state in OPEN
    return found


@page("web:runs", "training:read")
def index(page: Page) -> HttpResponse:
    assert page.project is not None
    return page.render("web/runs.html", {"runs": shown_runs(training.runs(page.principal, project_id=page.project.id))})


@page("web:runs", "training:read")
def detail(page: Page, run_id: str) -> HttpResponse:
    run: Any = training.run(page.principal, run_id)
    if page.project is None or run.project_id != page.project.id:
        raise NotFound
    if page.request.method == "POST":
        page.require("training:write")
        try:
            services.cancel_run(run, actor=page.principal.actor)
            messages.success(page.request, "The run is being cancelled.", extra_tags="good")
        except ServiceError as problem:
            messages.error(page.request, problem.detail, extra_tags="bad")
        return redirect("web:run", run.project_id, run.id)
    run.is_open = run.state in OPEN
    report = run.report or {}
    arms = report.get("arms") or {}
    return page.render(
        "web/run.html",
        {
            "run": run,
            "arms": [(name, arms[name]) for name in ARMS if name in arms],
            "loss": report.get("loss_curve") or [loss for _, loss in run.loss_series],
            "events": run.events.order_by("-id"),
            "may_write": page.may("training:write"),
        },
    )
