"""Operations under `/api/v1/audit-events`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models.audit_event import AuditEvent
from ..models.audit_event_page import AuditEventPage
from ..transport import Transport
from ..types import UNSET, Unset


class AuditEventsOperations(Transport):
    def list_audit_events(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> AuditEventPage:
        """List audit events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params["organization_id"] = organization_id

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
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> Iterator[AuditEvent]:
        """Every item of `list_audit_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_audit_events(
                after=after,
                limit=limit,
                organization_id=organization_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor
