"""Operations under `/api/v1/service-accounts`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.patched_service_account_update_request import (
    PatchedServiceAccountUpdateRequest,
)
from ..models.service_account import ServiceAccount
from ..models.service_account_create_request import ServiceAccountCreateRequest
from ..models.service_account_page import ServiceAccountPage
from ..transport import Transport
from ..types import UNSET, Unset


class ServiceAccountsOperations(Transport):
    def list_service_accounts(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> ServiceAccountPage:
        """List service accounts"""

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
            "/api/v1/service-accounts",
            **_kwargs,
        )
        response_200 = ServiceAccountPage.from_dict(response.json())

        return response_200

    def iterate_service_accounts(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> Iterator[ServiceAccount]:
        """Every item of `list_service_accounts`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_service_accounts(
                after=after,
                limit=limit,
                organization_id=organization_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_service_account(
        self,
        *,
        body: ServiceAccountCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> ServiceAccount:
        """Create service account"""
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
            "/api/v1/service-accounts",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = ServiceAccount.from_dict(response.json())

            return response_200

        response_201 = ServiceAccount.from_dict(response.json())

        return response_201

    def read_service_account(
        self,
        account_id: str,
    ) -> ServiceAccount:
        """Read service account"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/service-accounts/{account_id}".format(
                account_id=quote(str(account_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ServiceAccount.from_dict(response.json())

        return response_200

    def update_service_account(
        self,
        account_id: str,
        *,
        body: PatchedServiceAccountUpdateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
    ) -> ServiceAccount:
        """Update service account"""
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
            "/api/v1/service-accounts/{account_id}".format(
                account_id=quote(str(account_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ServiceAccount.from_dict(response.json())

        return response_200
