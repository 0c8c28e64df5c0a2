"""Operations under `/api/v1/quarantined-usage`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models.quarantined import Quarantined
from ..models.quarantined_page import QuarantinedPage
from ..transport import Transport
from ..types import UNSET, Unset


class QuarantinedUsageOperations(Transport):
    def list_quarantined_usage(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> QuarantinedPage:
        """List quarantined usage"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/quarantined-usage",
            **_kwargs,
        )
        response_200 = QuarantinedPage.from_dict(response.json())

        return response_200

    def iterate_quarantined_usage(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Quarantined]:
        """Every item of `list_quarantined_usage`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_quarantined_usage(
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor
