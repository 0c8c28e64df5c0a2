"""Operations under `/api/v1/webhook-deliveries`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.list_webhook_deliveries_state import ListWebhookDeliveriesState
from ..models.webhook_delivery import WebhookDelivery
from ..models.webhook_delivery_page import WebhookDeliveryPage
from ..transport import Transport
from ..types import UNSET, Unset


class WebhookDeliveriesOperations(Transport):
    def list_webhook_deliveries(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        state: ListWebhookDeliveriesState | Unset = UNSET,
        webhook_id: str | Unset = UNSET,
    ) -> WebhookDeliveryPage:
        """Kept for 30 days."""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        json_state: str | Unset = UNSET
        if not isinstance(state, Unset):
            json_state = state.value

        params["state"] = json_state

        params["webhook_id"] = webhook_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/webhook-deliveries",
            **_kwargs,
        )
        response_200 = WebhookDeliveryPage.from_dict(response.json())

        return response_200

    def iterate_webhook_deliveries(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        state: ListWebhookDeliveriesState | Unset = UNSET,
        webhook_id: str | Unset = UNSET,
    ) -> Iterator[WebhookDelivery]:
        """Every item of `list_webhook_deliveries`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_webhook_deliveries(
                after=after,
                limit=limit,
                state=state,
                webhook_id=webhook_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def read_webhook_delivery(
        self,
        delivery_id: str,
    ) -> WebhookDelivery:
        """Read webhook delivery"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/webhook-deliveries/{delivery_id}".format(
                delivery_id=quote(str(delivery_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = WebhookDelivery.from_dict(response.json())

        return response_200

    def replay_webhook_delivery(
        self,
        delivery_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> WebhookDelivery:
        """Send an event again, with the same id and body. 409 while it is still pending."""
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
        response = self.send(
            "POST",
            "/api/v1/webhook-deliveries/{delivery_id}/replay".format(
                delivery_id=quote(str(delivery_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = WebhookDelivery.from_dict(response.json())

            return response_200

        response_202 = WebhookDelivery.from_dict(response.json())

        return response_202
