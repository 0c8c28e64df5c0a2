"""Operations under `/api/v1/statements`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any

from ..models.read_statement_format import ReadStatementFormat
from ..models.statement import Statement
from ..transport import Transport
from ..types import UNSET, Unset


class StatementsOperations(Transport):
    def read_statement(
        self,
        *,
        format_: ReadStatementFormat | Unset = ReadStatementFormat.JSON,
        month: str | Unset = UNSET,
        organization_id: str | Unset = UNSET,
    ) -> Statement:
        """Month to date, or a past month: usage x price, computed from the events."""

        params: dict[str, Any] = {}

        json_format_: str | Unset = UNSET
        if not isinstance(format_, Unset):
            json_format_ = format_.value

        params["format"] = json_format_

        params["month"] = month

        params["organization_id"] = organization_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/statements",
            **_kwargs,
        )
        response_200 = Statement.from_dict(response.json())

        return response_200
