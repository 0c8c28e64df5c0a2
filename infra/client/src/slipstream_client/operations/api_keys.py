"""Operations under `/api/v1/api-keys`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.api_key import ApiKey
from ..models.api_key_create_request import ApiKeyCreateRequest
from ..models.api_key_page import ApiKeyPage
from ..models.key_rotate_request import KeyRotateRequest
from ..models.new_api_key import NewApiKey
from ..transport import Transport
from ..types import UNSET, Unset


class ApiKeysOperations(Transport):
    def list_api_keys(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
    ) -> ApiKeyPage:
        """List API keys"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params["project_id"] = project_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/api-keys",
            **_kwargs,
        )
        response_200 = ApiKeyPage.from_dict(response.json())

        return response_200

    def iterate_api_keys(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
    ) -> Iterator[ApiKey]:
        """Every item of `list_api_keys`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_api_keys(
                after=after,
                limit=limit,
                project_id=project_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_api_key(
        self,
        *,
        body: ApiKeyCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> NewApiKey:
        """Create API key"""
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
            "/api/v1/api-keys",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = NewApiKey.from_dict(response.json())

            return response_200

        response_201 = NewApiKey.from_dict(response.json())

        return response_201

    def read_api_key(
        self,
        key_id: str,
    ) -> ApiKey:
        """Read API key"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/api-keys/{key_id}".format(
                key_id=quote(str(key_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ApiKey.from_dict(response.json())

        return response_200

    def revoke_api_key(
        self,
        key_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> ApiKey:
        """Revoke API key"""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "DELETE",
            "/api/v1/api-keys/{key_id}".format(
                key_id=quote(str(key_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ApiKey.from_dict(response.json())

        return response_200

    def rotate_api_key(
        self,
        key_id: str,
        *,
        body: KeyRotateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> NewApiKey:
        """Rotate API key"""
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
            "/api/v1/api-keys/{key_id}/rotate".format(
                key_id=quote(str(key_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = NewApiKey.from_dict(response.json())

            return response_200

        response_201 = NewApiKey.from_dict(response.json())

        return response_201
