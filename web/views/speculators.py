"""Speculators: their versions with the evidence of the gate, and what a person may do with them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect

from control_plane.common.errors import Invalid, ServiceError
from control_plane.speculators import selectors as speculators
from control_plane.speculators import services
from control_plane.speculators.models import PROMOTABLE, Speculator, SpeculatorVersion, VersionState
from control_plane.training import services as training
from web.page import Page, page


@page("web:speculators", "speculator:read")
def index(page: Page) -> HttpResponse:
    assert page.project is not None
    rows: Any = speculators.speculators(page.principal, project_id=page.project.id).annotate(num=Count("versions"))
    return page.render(
        "web/speculators.html",
        {
            "speculators": [
                {"speculator": row, "active": next(iter(row.active_versions), None), "num_versions": row.num}
                for row in rows.order_by("created_at")
            ]
        },
    )


def _speculator(page: Page, speculator_id: str, permission: str = "speculator:read") -> Speculator:
    found = speculators.speculator(page.principal, speculator_id, permission)
    if page.project is None or found.project_id != page.project.id:
        return speculators.speculator(page.principal, "")
    return found


def _length(version: SpeculatorVersion, arm: str) -> float | None:
    """Held-out acceptance length of an arm, from the version's evaluation (ArmReplay by arm)."""
    return (version.evaluation.get(arm) or {}).get("acceptance_length")


@page("web:speculators", "speculator:read")
def detail(page: Page, speculator_id: str) -> HttpResponse:
    speculator = _speculator(page, speculator_id)
    versions = list(
        speculators.versions(page.principal, speculator_id=speculator.id)
        .select_related("parent")
        .prefetch_related("events")
        .order_by("-number")
    )
    rows = [
        {
            "version": version,
            "candidate": _length(version, "candidate"),
            "static": _length(version, "static"),
            "incumbent": _length(version, "incumbent"),
            "can_promote": version.state in PROMOTABLE,
            "events": list(version.events.all()),
        }
        for version in versions
    ]
    return page.render(
        "web/speculator.html",
        {
            "speculator": speculator,
            "versions": rows,
            "evidence": _evidence(rows),
            "can_roll_back": any(version.state == VersionState.ACTIVE for version in versions),
            "may_write": page.may("speculator:write"),
        },
    )


def _evidence(rows: list[dict[str, Any]]) -> list[tuple[str, float, str]]:
    """Bars, oldest first: the static drafter on the newest held-out traffic, then each version."""
    shown = [row for row in rows if row["candidate"]][:10]
    if not shown:
        return []
    floor = shown[0]["static"]
    first = [("static (now)", floor, f"{floor:.2f}")] if floor else []
    return first + [
        (f"v{row['version'].number}, {row['version'].state}", row["candidate"], f"{row['candidate']:.2f}")
        for row in reversed(shown)
    ]


@page("web:speculators", "speculator:write")
def action(page: Page, speculator_id: str) -> HttpResponse:
    speculator = _speculator(page, speculator_id, "speculator:write")
    wanted = page.request.POST.get("action", "")
    audit: dict[str, Any] = {"actor": page.principal.actor, "request_id": page.request_id}
    try:
        if wanted == "promote":
            version = speculators.version(page.principal, page.request.POST.get("version", ""), "speculator:write")
            if version.speculator_id != speculator.id:
                raise Invalid("This version belongs to another speculator.")
            services.promote(version, message="Promoted by hand.", **audit)
            done = f"v{version.number} goes live on every node within seconds."
        elif wanted == "rollback":
            previous = services.rollback(speculator, message="Rolled back by hand.", **audit)
            done = f"v{previous.number} is active again." if previous else "The static speculator serves alone now."
        elif wanted in ("freeze", "unfreeze"):
            services.set_frozen(speculator, wanted == "freeze", **audit)
            done = "Frozen: nothing is trained or promoted." if wanted == "freeze" else "Learning again."
        elif wanted == "train":
            page.require("training:write")
            run = training.start_run(speculator, trigger="manual", actor=page.principal.actor)
            return redirect("web:run", speculator.project_id, run.id)
        else:
            raise Invalid("There is no such action.")
        messages.success(page.request, done, extra_tags="good")
    except ServiceError as problem:
        messages.error(page.request, problem.detail, extra_tags="bad")
    return redirect("web:speculator", speculator.project_id, speculator.id)
