"""Operations under `/api/v1/operator-events`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models.operator_event import OperatorEvent
from ..models.operator_event_page import OperatorEventPage
from ..transport import Transport
from ..types import UNSET, Unset


class OperatorEventsOperations(Transport):
    def list_operator_events(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> OperatorEventPage:
        """List operator events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/operator-events",
            **_kwargs,
        )
        response_200 = OperatorEventPage.from_dict(response.json())

        return response_200

    def iterate_operator_events(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[OperatorEvent]:
        """Every item of `list_operator_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_operator_events(
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor
