"""Reading the audit log: filtered, and as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from control_plane.tenants.models import AuditEvent
from control_plane.tenants.principal import Principal

COLUMNS = (
    "number", "at", "actor", "action", "target", "changes", "request_id", "id", "organization_id", "previous_sha256",
    "sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """action: one, or all of a noun (`api_key.*`). start is inclusive, end exclusive."""

    organization_id: str | None = None
    action: str | None = None
    actor: str | None = None
    target: str | None = None
    start: datetime | None = None
    end: datetime | None = None


def audit_events(principal: Principal, wanted: AuditFilter) -> QuerySet[AuditEvent]:
    """In no order."""
    rows = AuditEvent.objects.filter(organization__in=principal.organizations_with("audit:read"))
    if wanted.action is not None and wanted.action.endswith(".*"):
        rows = rows.filter(action__startswith=wanted.action[:-1])
    elif wanted.action is not None:
        rows = rows.filter(action=wanted.action)
    exact = {
        "organization_id": wanted.organization_id,
        "actor": wanted.actor,
        "target": wanted.target,
        "at__gte": wanted.start,
        "at__lt": wanted.end,
    }
    return rows.filter(**{name: value for name, value in exact.items() if value is not None})


def as_jsonl(events: Iterable[AuditEvent]) -> str:
    return "".join(json.dumps(_row(event), separators=(",", ":")) + "\n" for event in events)


def as_csv(events: Iterable[AuditEvent]) -> str:
    """`changes` as JSON. A cell that a spreadsheet would compute begins with an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for event in events:
        row = _row(event) | {"changes": json.dumps(event.changes, separators=(",", ":"))}
        writer.writerow([_plain(row[name]) for name in COLUMNS])
    return file.getvalue()


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _row(event: AuditEvent) -> dict[str, Any]:
    found = {name: getattr(event, name) for name in COLUMNS}
    return found | {"at": event.at.isoformat()}
