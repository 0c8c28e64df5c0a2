"""What nodes tell us in their heartbeats."""

from __future__ import annotations

import logging
import math

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from control_plane.common.errors import Conflict, Invalid
from control_plane.common.ids import InvalidId, decode
from control_plane.common.moments import read_moment
from control_plane.common.states import record_event, transition
from control_plane.endpoints.models import ARMS, Deployment, Endpoint, SpeculationWindow
from control_plane.fleet import placement, rollouts
from control_plane.fleet.models import Node
from control_plane.fleet.reconciler import reconcile
from dataplane import contracts

logger = logging.getLogger(__name__)

_MOMENTS = ("first_token", "per_token", "acceptance")
_COUNTS = ("applied_generation", "running_requests", "waiting_requests", "slots", "usage_spooled", "traffic_dropped")


@transaction.atomic
def report(node: Node, status: contracts.NodeStatus) -> None:
    """A heartbeat. A report of an earlier boot is refused (Conflict); windows are stored once."""
    if status.node_id != node.id:
        raise Invalid("The status is another node's.", pointer="/node_id")
    _check(status)
    node = Node.objects.select_for_update().get(pk=node.pk)
    before, model = (node.state, node.applied_generation, node.boot_id), node.model
    refused = _new_refusals(node, status)
    _fence(node, status.boot_id)
    node.applied_generation = status.applied_generation
    node.engine = status.engine[:32]
    node.model = status.model[:120]
    node.model_sha256 = status.model_sha256[:64]
    node.last_seen_at = timezone.now()
    node.loaded = contracts.to_dict(status.loaded)
    node.running_requests = status.running_requests
    node.waiting_requests = status.waiting_requests
    node.slots = status.slots
    node.in_flight = status.in_flight
    node.usage_spooled = status.usage_spooled
    node.traffic_dropped = status.traffic_dropped
    node.admits = status.admits
    node.save()
    state = _observed(status, node.desired)
    if node.state != state:
        transition(node, state, code="reported")
    store_windows(node.id, status.windows)
    _nudge_rollouts(node.id)
    _announce(node, refused)
    if node.model != model:
        placement.clear(node.id)
    if before != (node.state, node.applied_generation, node.boot_id):
        reconcile(node.id)


def _nudge_rollouts(node_id: str) -> None:
    """What this report shows may move a rollout. A lost nudge costs seconds: the sweep comes by anyway."""
    found = rollouts.open_on(node_id)
    if not found:
        return

    def nudge() -> None:
        try:
            current_app.send_task("fleet.advance_rollouts", [found], expires=10, retry=False)
        except OperationalError as error:  # the broker is away
            logger.warning("could not nudge the rollouts of node %s: %s", node_id, error)

    transaction.on_commit(nudge)


def _check(status: contracts.NodeStatus) -> None:
    """Raises Invalid for values of the right type that make no sense."""
    if not 1 <= len(status.boot_id) <= 64:
        raise Invalid("boot_id is a string of 1 to 64 characters.", pointer="/boot_id")
    for name in _COUNTS:
        if not 0 <= getattr(status, name) < 2**31:
            raise Invalid(f"{name} is out of range.", pointer=f"/{name}")
    if not all(0 <= count < 2**31 for count in status.in_flight.values()):
        raise Invalid("in_flight is out of range.", pointer="/in_flight")


def _observed(status: contracts.NodeStatus, desired: str) -> str:
    """The node's state: what it says, seen by what operators want of it."""
    if status.state == "ready" and desired != "serving":
        return "cordoned" if desired == "cordoned" else "draining"
    return status.state


def _fence(node: Node, boot_id: str) -> None:
    """A new boot takes over; one that was followed by another can't come back."""
    if node.boot_id == boot_id:
        return
    if node.events.filter(code="superseded_boot", message=boot_id).exists():
        raise Conflict("Another boot of this node has taken over.", code="fenced")
    record_event(node, before=node.state, code="superseded_boot", message=node.boot_id)
    node.boot_id = boot_id


def _new_refusals(node: Node, status: contracts.NodeStatus) -> list[contracts.LoadedVersion]:
    known = {(item["endpoint_id"], item["speculator_version_id"]) for item in node.loaded if item["state"] == "refused"}
    return [
        item
        for item in status.loaded
        if item.state == "refused" and (item.endpoint_id, item.speculator_version_id) not in known
    ]


def _announce(node: Node, refused: list[contracts.LoadedVersion]) -> None:
    """A refused artifact is seen where people look: in the node's and in the endpoint's events."""
    for item in refused:
        message = f"{item.speculator_version_id}: {item.reason}"
        logger.error("node %s refused speculator version %s", node.id, message)
        record_event(node, before=node.state, code="speculator_refused", message=message)
        for endpoint in _endpoints(node, {item.endpoint_id}).values():
            record_event(endpoint, before=endpoint.state, code="speculator_refused", message=message)


def store_windows(node_id: str, windows: tuple[contracts.SpeculationWindow, ...]) -> int:
    """Store what speculation did. A window that makes no sense is logged and dropped: it is telemetry, not money."""
    node = Node.objects.get(pk=node_id)
    endpoints = _endpoints(node, {window.endpoint_id for window in windows})
    deployments = dict(Deployment.objects.filter(endpoint__in=endpoints).values_list("id", "endpoint_id"))
    rows = []
    for window in windows:
        endpoint = endpoints.get(window.endpoint_id)
        problem = "unknown endpoint" if endpoint is None else _problem(window)
        if window.deployment_id and deployments.get(window.deployment_id) != window.endpoint_id:
            problem = problem or "unknown deployment"
        if endpoint is None or problem:
            logger.warning("node %s: window of %s dropped: %s", node_id, window.endpoint_id, problem)
            continue
        rows.append(_window_row(node_id, endpoint, window))
    SpeculationWindow.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _endpoints(node: Node, endpoint_ids: set[str]) -> dict[str, Endpoint]:
    """Those that this node may speak of: the ones of its model."""
    valid = set()
    for endpoint_id in endpoint_ids:
        try:
            decode("ep", endpoint_id)
        except InvalidId:
            continue
        valid.add(endpoint_id)
    rows = Endpoint.objects.unscoped().filter(id__in=valid, model_id=node.model)
    return {endpoint.id: endpoint for endpoint in rows}


def _problem(window: contracts.SpeculationWindow) -> str:
    if window.arm not in ARMS:
        return f"arm {window.arm!r}"
    counts = (window.requests, window.completion_tokens, window.steps, window.drafted, window.accepted)
    if not all(0 <= count < 2**31 for count in counts) or window.accepted > window.drafted:
        return "counts make no sense"
    if not 0 <= window.errors <= window.requests:
        return "errors make no sense"
    if not all(_is_possible(getattr(window, name), window.requests) for name in _MOMENTS):
        return "moments make no sense"
    if not 0 <= window.decode_seconds < 1e9:
        return "decode_seconds makes no sense"
    try:
        if window.speculator_version_id is not None:
            decode("spv", window.speculator_version_id)
        for moment in (window.started_at, window.ended_at):
            read_moment(moment)
    except ValueError as error:
        return str(error)[:100]
    return ""


def _is_possible(moments: contracts.Moments, requests: int) -> bool:
    """Whether so many logarithms can have these sums (Cauchy and Schwarz, with room for rounding)."""
    count, total, squares = moments.count, moments.total, moments.squares
    if not (0 <= count <= requests and math.isfinite(total) and 0.0 <= squares < 1e12):
        return False
    return total * total <= count * squares * (1 + 1e-9) + 1e-9


def _window_row(node_id: str, endpoint: Endpoint, window: contracts.SpeculationWindow) -> SpeculationWindow:
    return SpeculationWindow(
        organization_id=endpoint.organization_id,
        endpoint=endpoint,
        node_id=node_id,
        arm=window.arm,
        speculator_version_id=window.speculator_version_id,
        started_at=read_moment(window.started_at),
        ended_at=read_moment(window.ended_at),
        requests=window.requests,
        completion_tokens=window.completion_tokens,
        decode_seconds=window.decode_seconds,
        steps=window.steps,
        drafted=window.drafted,
        accepted=window.accepted,
        per_position_drafted=list(window.per_position_drafted),
        per_position_accepted=list(window.per_position_accepted),
        drafted_by_source=window.drafted_by_source,
        accepted_by_source=window.accepted_by_source,
        relearning=window.relearning,
        deployment_id=window.deployment_id or None,
        errors=window.errors,
        **{
            f"{name}_{part}": getattr(getattr(window, name), part)
            for name in _MOMENTS
            for part in ("count", "total", "squares")
        },
    )
