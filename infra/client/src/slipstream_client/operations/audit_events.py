"""Operations under `/api/v1/audit-events`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from ..models.audit_event import AuditEvent
from ..models.audit_event_page import AuditEventPage
from ..models.export_audit_events_format import ExportAuditEventsFormat
from ..models.verification import Verification
from ..transport import Transport
from ..types import UNSET, Unset


class AuditEventsOperations(Transport):
    def list_audit_events(
        self,
        *,
        action: str | Unset = UNSET,
        actor: str | Unset = UNSET,
        after: str | Unset = UNSET,
        end: datetime.datetime | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
        start: datetime.datetime | Unset = UNSET,
        target: str | Unset = UNSET,
    ) -> AuditEventPage:
        """List audit events"""

        params: dict[str, Any] = {}

        params["action"] = action

        params["actor"] = actor

        params["after"] = after

        json_end: str | Unset = UNSET
        if not isinstance(end, Unset):
            json_end = end.isoformat()
        params["end"] = json_end

        params["limit"] = limit

        params["organization_id"] = organization_id

        json_start: str | Unset = UNSET
        if not isinstance(start, Unset):
            json_start = start.isoformat()
        params["start"] = json_start

        params["target"] = target

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/audit-events",
            **_kwargs,
        )
        response_200 = AuditEventPage.from_dict(response.json())

        return response_200

    def iterate_audit_events(
        self,
        *,
        action: str | Unset = UNSET,
        actor: str | Unset = UNSET,
        after: str | Unset = UNSET,
        end: datetime.datetime | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
        start: datetime.datetime | Unset = UNSET,
        target: str | Unset = UNSET,
    ) -> Iterator[AuditEvent]:
        """Every item of `list_audit_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_audit_events(
                action=action,
                actor=actor,
                after=after,
                end=end,
                limit=limit,
                organization_id=organization_id,
                start=start,
                target=target,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def export_audit_events(
        self,
        *,
        action: str | Unset = UNSET,
        actor: str | Unset = UNSET,
        after_number: int | Unset = 0,
        end: datetime.datetime | Unset = UNSET,
        format_: ExportAuditEventsFormat | Unset = ExportAuditEventsFormat.JSONL,
        organization_id: str | Unset = UNSET,
        start: datetime.datetime | Unset = UNSET,
        target: str | Unset = UNSET,
    ) -> str:
        """Oldest first, 10000 at most: go on with `after_number`. Of one organization."""

        params: dict[str, Any] = {}

        params["action"] = action

        params["actor"] = actor

        params["after_number"] = after_number

        json_end: str | Unset = UNSET
        if not isinstance(end, Unset):
            json_end = end.isoformat()
        params["end"] = json_end

        json_format_: str | Unset = UNSET
        if not isinstance(format_, Unset):
            json_format_ = format_.value

        params["format"] = json_format_

        params["organization_id"] = organization_id

        json_start: str | Unset = UNSET
        if not isinstance(start, Unset):
            json_start = start.isoformat()
        params["start"] = json_start

        params["target"] = target

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/audit-events/export",
            **_kwargs,
        )
        response_200 = response.text
        return response_200

    def verify_audit_events(
        self,
        *,
        after_number: int | Unset = 0,
        organization_id: str | Unset = UNSET,
    ) -> Verification:
        """Recompute the hash chain, 20000 events at most: go on with `next_after_number`."""

        params: dict[str, Any] = {}

        params["after_number"] = after_number

        params["organization_id"] = organization_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/audit-events/verification",
            **_kwargs,
        )
        response_200 = Verification.from_dict(response.json())

        return response_200
