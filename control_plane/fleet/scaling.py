"""How many nodes an endpoint wants, between its least and its most replicas, from what nodes report.

Up at once, as far as the requests in flight ask for; down one node at a time, each after a quiet time in which the rest
would have had room to spare. The two thresholds lie apart, so that the same load never goes up and down.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from control_plane.common.states import record_event
from control_plane.endpoints.models import Endpoint
from control_plane.fleet.models import Node
from control_plane.tenants.models import Placement

# Shares of the nodes' slots: above BUSY one node more is wanted; one less will do if the rest stays below QUIET.
BUSY, QUIET = 0.8, 0.5
# Of a node that doesn't say how many requests it runs at once.
UNKNOWN_SLOTS = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """quiet_since: since when one replica less would do; None: it would not."""

    replicas: int
    quiet_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What the nodes that serve a project report. slots: requests that one of them runs at once, on average."""

    in_flight: int
    slots: float


def next_scale(
    scale: Scale, load: Load, *, least: int, most: int, live: int, now: datetime, quiet_time: timedelta
) -> Scale:
    """live: nodes that could hold the project: they bound how far it grows, not what it has."""
    current = min(max(scale.replicas, least), most)
    asked = math.ceil(load.in_flight / (BUSY * load.slots))
    if (wanted := min(asked, most, live)) > current:
        return Scale(wanted)
    if current == least or load.in_flight > QUIET * load.slots * (current - 1):
        return Scale(current)
    since = scale.quiet_since or now
    if now - since < quiet_time:
        return Scale(current, since)
    return Scale(current - 1, now)


def rescale(now: datetime | None = None) -> int:
    """One look at every endpoint that leaves room. Safe at any time. Returns how many want another number now."""
    now = now or timezone.now()
    rows = Endpoint.objects.unscoped().filter(desired_state="running", max_replicas__gt=F("min_replicas"))
    endpoints = list(rows.order_by("id"))
    loads = _loads({endpoint.project_id for endpoint in endpoints})
    live = _live({endpoint.model_id for endpoint in endpoints})
    changed = 0
    for endpoint in endpoints:
        load = loads.get((endpoint.project_id, endpoint.model_id))
        if load is None:  # nobody serves it: there is nothing to go by
            continue
        scale = Scale(endpoint.desired_replicas, endpoint.quiet_since)
        found = next_scale(
            scale,
            load,
            least=endpoint.min_replicas,
            most=endpoint.max_replicas,
            live=live.get(endpoint.model_id, 0),
            now=now,
            quiet_time=timedelta(seconds=settings.SLIPSTREAM_SCALE_DOWN_SECONDS),
        )
        if found != scale:
            changed += _write(endpoint, scale, found, load)
    return changed


def _loads(project_ids: Collection[str]) -> dict[tuple[str, str], Load]:
    """By project and target model, over the nodes that serve it; also those that it is leaving: they still do."""
    pairs = list(Placement.objects.filter(project__in=project_ids).values_list("project_id", "node_id", "generation"))
    nodes = Node.objects.in_bulk({node_id for _, node_id, _ in pairs})
    serving: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for project_id, node_id, generation in pairs:
        node = nodes.get(node_id)
        if node is not None and node.serves(generation):
            serving[project_id, node.model].append(node)
    return {
        (project_id, model): Load(
            in_flight=sum(node.in_flight.get(project_id, 0) for node in found),
            slots=sum(node.slots or UNKNOWN_SLOTS for node in found) / len(found),
        )
        for (project_id, model), found in serving.items()
    }


def _live(models: Collection[str]) -> dict[str, int]:
    """By target model: nodes that keep projects."""
    found: dict[str, int] = defaultdict(int)
    for node in Node.objects.filter(model__in=models).exclude(state="lost"):
        found[node.model] += node.keeps
    return found


def _write(endpoint: Endpoint, before: Scale, after: Scale, load: Load) -> int:
    """Whether the wanted number is another one now. What somebody else changed meanwhile is looked at next time."""
    with transaction.atomic():
        rows = Endpoint.objects.unscoped().filter(
            pk=endpoint.pk,
            desired_state="running",
            desired_replicas=before.replicas,
            min_replicas=endpoint.min_replicas,
            max_replicas=endpoint.max_replicas,
        )
        if rows.update(desired_replicas=after.replicas, quiet_since=after.quiet_since) != 1:
            return 0
        if after.replicas == before.replicas:
            return 0
        message = f"{before.replicas} → {after.replicas} replicas: {load.in_flight} requests in flight, "
        message += f"{load.slots:g} run at once on a node."
        record_event(endpoint, before=endpoint.state, code="scaled", message=message)
    return 1
