"""Operations under `/api/v1/prices`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models.price import Price
from ..models.price_create_request import PriceCreateRequest
from ..models.price_page import PricePage
from ..transport import Transport
from ..types import UNSET, Unset


class PricesOperations(Transport):
    def list_prices(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        model: str | Unset = UNSET,
    ) -> PricePage:
        """List prices"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params["model"] = model

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/prices",
            **_kwargs,
        )
        response_200 = PricePage.from_dict(response.json())

        return response_200

    def iterate_prices(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        model: str | Unset = UNSET,
    ) -> Iterator[Price]:
        """Every item of `list_prices`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_prices(
                after=after,
                limit=limit,
                model=model,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_price(
        self,
        *,
        body: PriceCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Price:
        """For operators. Prices never change; a new one takes effect from a moment on."""
        headers: dict[str, Any] = {}
        if not isinstance(idempotency_key, Unset):
            headers["Idempotency-Key"] = idempotency_key

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }
        _kwargs["json"] = body.to_dict()

        response = self.send(
            "POST",
            "/api/v1/prices",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Price.from_dict(response.json())

            return response_200

        response_201 = Price.from_dict(response.json())

        return response_201
