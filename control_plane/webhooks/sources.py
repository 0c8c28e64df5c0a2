"""What can happen: the event tables, the types of their events, and what a receiver is told. Ids and states only."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from control_plane.common.states import StateEvent, Stateful
from control_plane.endpoints.models import Endpoint, EndpointEvent, Rollout, RolloutEvent
from control_plane.speculators.models import SpeculatorVersion, SpeculatorVersionEvent
from control_plane.tenants.models import AuditEvent
from control_plane.training.models import TrainingRun, TrainingRunEvent

TEST_TYPE = "webhook.test"


@dataclass(frozen=True, slots=True)
class Source:
    """A state machine whose changes are events `{noun}.{state}`."""

    subject: type[Stateful]
    events: type[StateEvent]


STATES: Mapping[str, Source] = {
    "endpoint": Source(Endpoint, EndpointEvent),
    "rollout": Source(Rollout, RolloutEvent),
    "speculator_version": Source(SpeculatorVersion, SpeculatorVersionEvent),
    "training_run": Source(TrainingRun, TrainingRunEvent),
}
AUDIT = "audit"
TYPES: tuple[str, ...] = (
    *(f"{noun}.{state}" for noun, source in STATES.items() for state in sorted(source.subject.TRANSITIONS)),
    *(f"{noun}.note" for noun in STATES),
    f"{AUDIT}.*",
)
_AUDIT_TYPE = re.compile(r"audit\.[a-z_]{1,40}\.[a-z_]{1,40}\Z")


def is_pattern(text: str) -> bool:
    """Whether something can match it: `*`, `endpoint.*`, `endpoint.ready`, `audit.*`, `audit.api_key.create`."""
    nouns = {f"{noun}.*" for noun in (*STATES, AUDIT)}
    return text == "*" or text in nouns or text in TYPES or _AUDIT_TYPE.match(text) is not None


def matches(patterns: Iterable[str], event_type: str) -> bool:
    """A test is for whoever asked for it, whatever they listen to."""
    return event_type == TEST_TYPE or any(
        pattern in ("*", event_type) or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


@dataclass(frozen=True, slots=True)
class Happening:
    """type, and the body of the request (Standard Webhooks: `type`, `timestamp`, `data`)."""

    type: str
    payload: dict[str, Any]


def happening(type_: str, at: Any, data: dict[str, Any]) -> Happening:
    return Happening(type_, {"type": type_, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data})


def read(source: str, ids: Iterable[str]) -> dict[str, Happening]:
    """What the rows of one source say, by their ids as text: one query for all."""
    if source == AUDIT:
        found = AuditEvent.objects.unscoped().filter(pk__in=[uuid.UUID(id_) for id_ in ids])
        return {str(AuditEvent._meta.pk.get_prep_value(row.id)): _audited(row) for row in found}
    rows: models.QuerySet[Any] = STATES[source].events._default_manager.filter(pk__in=[int(id_) for id_ in ids])
    return {str(row.pk): _changed(source, row) for row in rows.select_related("subject")}


def _changed(noun: str, row: Any) -> Happening:
    moved = row.from_state != row.to_state
    subject = row.subject
    data = {
        "id": subject.pk,
        "organization_id": subject.organization_id,
        "project_id": subject.project_id,
        "from_state": row.from_state or None,
        "to_state": row.to_state,
        "code": row.code,
        "message": row.message,
        "actor": row.actor,
    }
    return happening(f"{noun}.{row.to_state if moved else 'note'}", row.at, data)


def _audited(row: AuditEvent) -> Happening:
    data = {
        "id": row.id,
        "organization_id": row.organization_id,
        "number": row.number,
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "request_id": row.request_id,
    }
    return happening(f"{AUDIT}.{row.action}", row.at, data)
