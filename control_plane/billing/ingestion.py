"""Usage from the nodes into Postgres, exactly once.

A batch may arrive any number of times, in any order, cut in any way: the rows afterwards are the same. An event that
can't be billed (unreadable, an unknown tenant, an id or a place in the sequence that belongs to another event) goes
to quarantine with its reason, raises an alert, and still counts as arrived: the node may forget it, we don't.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import JSONField, Value

from control_plane.billing import rollups, sequence
from control_plane.billing.models import QuarantinedUsage, SequenceProgress, UsageEvent
from control_plane.common.errors import Invalid
from control_plane.common.ids import InvalidId, decode
from control_plane.common.moments import read_moment
from control_plane.endpoints.models import Endpoint
from control_plane.tenants.models import ApiKey, Project
from dataplane import contracts

logger = logging.getLogger(__name__)

MAX_BATCH = 2000
_MAX_SEQ = 2**62
_MAX_COUNT = 2**53
_COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens", "steps", "drafted", "accepted")
_TEXTS = {"event_id": 64, "deployment_id": 64, "model": 120, "request_id": 64, "speculation_mode": 16}


@dataclass(frozen=True, slots=True)
class Reported:
    """An item of a batch; `event` is None when it can't be read, and `problem` says why."""

    boot_id: str
    seq: int
    payload: Any
    sha256: str
    event: contracts.UsageEvent | None
    problem: str = ""

    @property
    def place(self) -> tuple[str, int]:
        return self.boot_id, self.seq


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    detail: str


@dataclass
class Known:
    """What the database knew about a batch's events when its sequences were locked; grows with what is accepted."""

    organization_of: dict[str, str]  # project -> organization
    project_of: dict[str, str]  # endpoint or key -> project
    sha_of_event: dict[tuple[str, str], str]  # (organization, event id) -> payload hash
    event_at: dict[tuple[str, int], str]  # (boot, seq) -> payload hash


@transaction.atomic
def ingest(node_id: str, items: list[Any]) -> dict[str, int]:
    """Store a batch of `SequencedUsage`. Returns the highest contiguous sequence number for each boot in the batch.

    Raises Invalid when an item has no place in a sequence: then nothing can be acknowledged.
    """
    if len(items) > MAX_BATCH:
        raise Invalid(f"A batch has at most {MAX_BATCH} events.", pointer="/events")
    reported = [_read(item, index) for index, item in enumerate(items)]
    progress = _lock(node_id, {item.boot_id for item in reported})
    known = _look_up(node_id, reported)
    accepted: list[UsageEvent] = []
    refused: list[QuarantinedUsage] = []
    for item in reported:
        refusal = judge(item, known)
        if refusal is not None:
            refused.append(_quarantined(node_id, item, refusal))
        elif item.event is not None and item.place not in known.event_at:
            known.event_at[item.place] = item.sha256
            if (item.event.organization_id, item.event.event_id) not in known.sha_of_event:
                known.sha_of_event[item.event.organization_id, item.event.event_id] = item.sha256
                accepted.append(_row(node_id, item, item.event))
    stored = UsageEvent.objects.bulk_create(accepted)
    if refused:
        QuarantinedUsage.objects.bulk_create(refused, ignore_conflicts=True)
        logger.error(
            "usage quarantined: node %s, %d events, first: %s (%s)",
            node_id, len(refused), refused[0].reason, refused[0].detail,
        )  # fmt: skip
    for boot_id, row in progress.items():
        row.received = sequence.add(row.received, (item.seq for item in reported if item.boot_id == boot_id))
        row.save(update_fields=["received", "updated_at"])
    rollups.add([event.pk for event in stored])
    return {boot_id: sequence.contiguous(row.received) for boot_id, row in progress.items()}


def judge(item: Reported, known: Known) -> Refusal | None:
    """Why an event must not be billed; None: it may be, or it has been already."""
    event = item.event
    if event is None:
        return Refusal("malformed", item.problem)
    if known.organization_of.get(event.project_id) != event.organization_id:
        return Refusal("unknown_tenant", f"no project {event.project_id} in {event.organization_id}")
    if known.project_of.get(event.endpoint_id) != event.project_id:
        return Refusal("unknown_endpoint", f"no endpoint {event.endpoint_id} in {event.project_id}")
    if known.project_of.get(event.key_id) != event.project_id:
        return Refusal("unknown_key", f"no key {event.key_id} in {event.project_id}")
    before = known.sha_of_event.get((event.organization_id, event.event_id))
    if before is not None and before != item.sha256:
        return Refusal("payload_mismatch", f"event {event.event_id} was stored with another payload")
    at_place = known.event_at.get(item.place)
    if at_place is not None and at_place != item.sha256:
        return Refusal("sequence_reused", f"seq {item.seq} of this boot holds another event")
    return None


# ------------------------------------------------------------------------------------------------------------ reading


def _read(item: Any, index: int) -> Reported:
    where = f"/events/{index}"
    if not isinstance(item, dict):
        raise Invalid("An event is an object.", pointer=where)
    boot_id, seq, payload = item.get("boot_id"), item.get("seq"), item.get("event")
    if not isinstance(boot_id, str) or not 1 <= len(boot_id) <= 64:
        raise Invalid("boot_id is a string of 1 to 64 characters.", pointer=f"{where}/boot_id")
    if type(seq) is not int or not 1 <= seq < _MAX_SEQ:
        raise Invalid("seq is a whole number from 1 on.", pointer=f"{where}/seq")
    try:
        event = contracts.from_dict(contracts.UsageEvent, payload)
        _check(event)
    except (contracts.ContractError, InvalidId, ValueError) as error:
        raw = json.dumps(payload, sort_keys=True).encode()
        return Reported(boot_id, seq, payload, hashlib.sha256(raw).hexdigest(), None, str(error)[:500])
    return Reported(boot_id, seq, payload, contracts.payload_sha256(event), event)


def _check(event: contracts.UsageEvent) -> None:
    """Raises ValueError for values that have the right type and make no sense."""
    decode("org", event.organization_id)
    decode("prj", event.project_id)
    decode("ep", event.endpoint_id)
    decode("key", event.key_id)
    for name in _COUNTS:
        if not 0 <= getattr(event, name) <= _MAX_COUNT:
            raise ValueError(f"{name}: {getattr(event, name)} is out of range")
    if event.cached_tokens > event.prompt_tokens:
        raise ValueError("cached_tokens: more than prompt_tokens")
    for name, length in _TEXTS.items():
        if len(getattr(event, name)) > length:
            raise ValueError(f"{name}: longer than {length} characters")
    if not event.event_id:
        raise ValueError("event_id: is empty")
    if event.speculator_version_id is not None:
        decode("spv", event.speculator_version_id)
    read_moment(event.started_at)
    read_moment(event.finished_at)


# ------------------------------------------------------------------------------------------------------------ storing


def _lock(node_id: str, boot_ids: Iterable[str]) -> dict[str, SequenceProgress]:
    """One writer for each boot of a node, until the transaction ends."""
    rows = {}
    for boot_id in sorted(boot_ids):
        SequenceProgress.objects.bulk_create(
            [SequenceProgress(node_id=node_id, boot_id=boot_id)], ignore_conflicts=True
        )
        rows[boot_id] = SequenceProgress.objects.select_for_update().get(node_id=node_id, boot_id=boot_id)
    return rows


def _look_up(node_id: str, reported: list[Reported]) -> Known:
    events = [item.event for item in reported if item.event is not None]
    projects = Project.objects.unscoped().filter(id__in={event.project_id for event in events})
    endpoints = Endpoint.objects.unscoped().filter(id__in={event.endpoint_id for event in events})
    keys = ApiKey.objects.unscoped().filter(id__in={event.key_id for event in events})
    stored = UsageEvent.objects.unscoped().filter(
        organization__in={event.organization_id for event in events}, event_id__in={event.event_id for event in events}
    )
    placed = UsageEvent.objects.unscoped().filter(
        node_id=node_id,
        boot_id__in={item.boot_id for item in reported},
        seq__in={item.seq for item in reported},
    )
    return Known(
        organization_of=dict(projects.values_list("id", "organization_id")),
        project_of=dict(endpoints.values_list("id", "project_id")) | dict(keys.values_list("id", "project_id")),
        sha_of_event={
            (organization, event): sha
            for organization, event, sha in stored.values_list("organization_id", "event_id", "payload_sha256")
        },
        event_at={(boot, seq): sha for boot, seq, sha in placed.values_list("boot_id", "seq", "payload_sha256")},
    )


def _row(node_id: str, item: Reported, event: contracts.UsageEvent) -> UsageEvent:
    return UsageEvent(
        event_id=event.event_id,
        organization_id=event.organization_id,
        project_id=event.project_id,
        endpoint_id=event.endpoint_id,
        key_id=event.key_id,
        deployment_id=event.deployment_id,
        model=event.model,
        status=event.status,
        started_at=read_moment(event.started_at),
        finished_at=read_moment(event.finished_at),
        prompt_tokens=event.prompt_tokens,
        cached_tokens=event.cached_tokens,
        completion_tokens=event.completion_tokens,
        steps=event.steps,
        drafted=event.drafted,
        accepted=event.accepted,
        speculation_mode=event.speculation_mode,
        speculator_version_id=event.speculator_version_id,
        request_id=event.request_id,
        node_id=node_id,
        boot_id=item.boot_id,
        seq=item.seq,
        payload_sha256=item.sha256,
    )


def _quarantined(node_id: str, item: Reported, refusal: Refusal) -> QuarantinedUsage:
    return QuarantinedUsage(
        node_id=node_id,
        boot_id=item.boot_id,
        seq=item.seq,
        reason=refusal.reason,
        detail=refusal.detail[:500],
        payload=Value(None, JSONField()) if item.payload is None else item.payload,  # JSON's null, not SQL's
        payload_sha256=item.sha256,
    )
