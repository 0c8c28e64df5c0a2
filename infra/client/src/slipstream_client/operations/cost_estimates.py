"""Operations under `/api/v1/cost-estimates`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any

from ..models.estimate import Estimate
from ..models.estimate_body_request import EstimateBodyRequest
from ..transport import Transport
from ..types import UNSET, Unset


class CostEstimatesOperations(Transport):
    def estimate_cost(
        self,
        *,
        body: EstimateBodyRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Estimate:
        """What a load would cost by the prices in force, in exact integers, and what that assumes. Nothing is started or
        kept."""
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
            "/api/v1/cost-estimates",
            **_kwargs,
        )
        response_200 = Estimate.from_dict(response.json())

        return response_200
