"""Operations under `/api/v1/node-tokens`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.token import Token
from ..models.token_create_request import TokenCreateRequest
from ..models.token_page import TokenPage
from ..models.token_with_secret import TokenWithSecret
from ..transport import Transport
from ..types import UNSET, Unset


class NodeTokensOperations(Transport):
    def list_node_tokens(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> TokenPage:
        """List node tokens"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/node-tokens",
            **_kwargs,
        )
        response_200 = TokenPage.from_dict(response.json())

        return response_200

    def iterate_node_tokens(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Token]:
        """Every item of `list_node_tokens`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_node_tokens(
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_node_token(
        self,
        *,
        body: TokenCreateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> TokenWithSecret:
        """A token with which one node registers, once. It is shown here and never again."""
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
            "/api/v1/node-tokens",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = TokenWithSecret.from_dict(response.json())

            return response_200

        response_201 = TokenWithSecret.from_dict(response.json())

        return response_201

    def read_node_token(
        self,
        token_id: str,
    ) -> Token:
        """Read node token"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/node-tokens/{token_id}".format(
                token_id=quote(str(token_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Token.from_dict(response.json())

        return response_200

    def revoke_node_token(
        self,
        token_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> Token:
        """Revoke node token"""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "DELETE",
            "/api/v1/node-tokens/{token_id}".format(
                token_id=quote(str(token_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Token.from_dict(response.json())

        return response_200
