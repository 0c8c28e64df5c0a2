"""Operations under `/api/v1/webhooks`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.new_webhook import NewWebhook
from ..models.patched_webhook_update_request import PatchedWebhookUpdateRequest
from ..models.secret_rotate_request import SecretRotateRequest
from ..models.webhook import Webhook
from ..models.webhook_create_request import WebhookCreateRequest
from ..models.webhook_delivery import WebhookDelivery
from ..models.webhook_page import WebhookPage
from ..transport import Transport
from ..types import UNSET, Unset


class WebhooksOperations(Transport):
    def list_webhooks(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> WebhookPage:
        """List webhooks"""

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
            "/api/v1/webhooks",
            **_kwargs,
        )
        response_200 = WebhookPage.from_dict(response.json())

        return response_200

    def iterate_webhooks(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> Iterator[Webhook]:
        """Every item of `list_webhooks`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_webhooks(
                after=after,
                limit=limit,
                organization_id=organization_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_webhook(
        self,
        *,
        body: WebhookCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> NewWebhook:
        """Events are posted as JSON, signed as Standard Webhooks say. A receiver answers 2xx within 10 seconds; else it
        is asked again, 11 times over 28 to 34 hours. Redirects are not followed; names must resolve to public
        addresses only. An event can come twice (same `webhook-id`) and in any order. At most 20 for each
        organization. A receiver that fails for 5 days, or answers 410, is disabled."""
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
            "/api/v1/webhooks",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = NewWebhook.from_dict(response.json())

            return response_200

        response_201 = NewWebhook.from_dict(response.json())

        return response_201

    def read_webhook(
        self,
        webhook_id: str,
    ) -> Webhook:
        """Read webhook"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/webhooks/{webhook_id}".format(
                webhook_id=quote(str(webhook_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Webhook.from_dict(response.json())

        return response_200

    def delete_webhook(
        self,
        webhook_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> Any:
        """Its log of deliveries goes with it; what is pending is not sent."""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        self.send(
            "DELETE",
            "/api/v1/webhooks/{webhook_id}".format(
                webhook_id=quote(str(webhook_id), safe=""),
            ),
            **_kwargs,
        )
        return None

    def update_webhook(
        self,
        webhook_id: str,
        *,
        body: PatchedWebhookUpdateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
    ) -> Webhook:
        """Update webhook"""
        headers: dict[str, Any] = {}

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }

        if not isinstance(body, Unset):
            _kwargs["json"] = body.to_dict()

        response = self.send(
            "PATCH",
            "/api/v1/webhooks/{webhook_id}".format(
                webhook_id=quote(str(webhook_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Webhook.from_dict(response.json())

        return response_200

    def rotate_webhook_secret(
        self,
        webhook_id: str,
        *,
        body: SecretRotateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> NewWebhook:
        """Rotate webhook secret"""
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

        if not isinstance(body, Unset):
            _kwargs["json"] = body.to_dict()

        response = self.send(
            "POST",
            "/api/v1/webhooks/{webhook_id}/rotate-secret".format(
                webhook_id=quote(str(webhook_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = NewWebhook.from_dict(response.json())

            return response_200

        response_201 = NewWebhook.from_dict(response.json())

        return response_201

    def test_webhook(
        self,
        webhook_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> WebhookDelivery:
        """Send an event of the type `webhook.test`."""
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
            "/api/v1/webhooks/{webhook_id}/test".format(
                webhook_id=quote(str(webhook_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = WebhookDelivery.from_dict(response.json())

            return response_200

        response_202 = WebhookDelivery.from_dict(response.json())

        return response_202
