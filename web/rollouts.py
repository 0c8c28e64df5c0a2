"""An endpoint's deployments and its rollout, as its page shows and steers them."""

from __future__ import annotations

from typing import Any

from control_plane.common.errors import Conflict
from control_plane.endpoints import rollouts, selectors
from control_plane.endpoints.deployments import open_rollout
from control_plane.endpoints.models import Endpoint
from control_plane.speculators import selectors as speculators
from web.page import Page

SHOWN = 10
STEERING = {
    "pause": rollouts.pause,
    "resume": rollouts.resume,
    "promote": rollouts.hurry,
    "abort": rollouts.abort,
    "roll_back": None,
}
_NAMES = {
    "errors": "Error rate",
    "first_token": "Time to first token",
    "per_token": "Time per token",
    "acceptance": "Acceptance length",
}
_UNITS = {"first_token": " ms", "per_token": " ms"}


def rollout_context(page: Page, endpoint: Endpoint) -> dict[str, Any]:
    """Deployments with their shares and versions, the newest rollouts, and the evidence of the newest one."""
    deployments = list(selectors.deployments(page.principal, endpoint_id=endpoint.id).order_by("-number")[:SHOWN])
    recent = list(selectors.rollouts(page.principal, endpoint_id=endpoint.id).order_by("-pk")[:SHOWN])
    named = [row.speculator_version_id for row in deployments if row.speculator_version_id]
    versions = speculators.versions(page.principal, project_id=endpoint.project_id).filter(pk__in=named)
    labels = dict(versions.values_list("id", "number"))
    numbers = {row.id: row.number for row in deployments}
    newest = recent[0] if recent and (recent[0].is_open or recent[0].evidence) else None
    return {
        "deployments": [{"row": row, "version": labels.get(row.speculator_version_id or "")} for row in deployments],
        "rollout": newest,
        "rollouts": [
            {"row": row, "source": numbers.get(row.source_id), "target": numbers.get(row.target_id)} for row in recent
        ],
        "share": newest.share / 100 if newest else 0,
        "measures": [_measure(item) for item in newest.evidence.get("measures", ())] if newest else [],
        "can_roll_back": len(deployments) > 1 and not any(row.is_open for row in recent),
    }


def _measure(item: dict[str, Any]) -> dict[str, Any]:
    """A measure in words: percent, milliseconds, or tokens."""
    name = item["name"]
    if name == "errors":
        before, after = (f"{item[side]:.1%}" for side in ("before", "after"))
    elif name in _UNITS:
        before, after = (f"{1000 * item[side]:.1f}{_UNITS[name]}" for side in ("before", "after"))
    else:
        before, after = (f"{item[side]:.2f}" for side in ("before", "after"))
    return {
        "name": _NAMES[name],
        "before": before,
        "after": after,
        "change": f"{item['change']:+.1%}",
        "bound": f"{item['bound']:+.1%}",
        "limit": f"{item['limit']:+.0%}",
        "worse": item["worse"],
    }


def steer(endpoint: Endpoint, wish: str, **audit: Any) -> None:
    """What a button of the page asks for. Raises Conflict."""
    if wish == "roll_back":
        rollouts.roll_back(endpoint, **audit)
        return
    found = open_rollout(endpoint)
    if found is None:
        raise Conflict("There is no open rollout.")
    action = STEERING[wish]
    assert action is not None
    action(found, **audit)
