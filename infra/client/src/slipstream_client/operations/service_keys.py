"""Operations under `/api/v1/service-keys`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.key_rotate_request import KeyRotateRequest
from ..models.new_service_key import NewServiceKey
from ..models.service_key import ServiceKey
from ..models.service_key_create_request import ServiceKeyCreateRequest
from ..models.service_key_page import ServiceKeyPage
from ..transport import Transport
from ..types import UNSET, Unset


class ServiceKeysOperations(Transport):
    def list_service_keys(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> ServiceKeyPage:
        """List service keys"""

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
            "/api/v1/service-keys",
            **_kwargs,
        )
        response_200 = ServiceKeyPage.from_dict(response.json())

        return response_200

    def iterate_service_keys(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> Iterator[ServiceKey]:
        """Every item of `list_service_keys`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_service_keys(
                after=after,
                limit=limit,
                organization_id=organization_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_service_key(
        self,
        *,
        body: ServiceKeyCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> NewServiceKey:
        """Create service key"""
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
            "/api/v1/service-keys",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = NewServiceKey.from_dict(response.json())

            return response_200

        response_201 = NewServiceKey.from_dict(response.json())

        return response_201

    def read_service_key(
        self,
        key_id: str,
    ) -> ServiceKey:
        """Read service key"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/service-keys/{key_id}".format(
                key_id=quote(str(key_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ServiceKey.from_dict(response.json())

        return response_200

    def revoke_service_key(
        self,
        key_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> ServiceKey:
        """Revoke service key"""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "DELETE",
            "/api/v1/service-keys/{key_id}".format(
                key_id=quote(str(key_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ServiceKey.from_dict(response.json())

        return response_200

    def rotate_service_key(
        self,
        key_id: str,
        *,
        body: KeyRotateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> NewServiceKey:
        """A successor that may do the same; the old key works on for the overlap."""
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
            "/api/v1/service-keys/{key_id}/rotate".format(
                key_id=quote(str(key_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = NewServiceKey.from_dict(response.json())

            return response_200

        response_201 = NewServiceKey.from_dict(response.json())

        return response_201
