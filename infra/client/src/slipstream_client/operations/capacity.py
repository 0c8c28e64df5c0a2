"""Operations under `/api/v1/capacity`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any

from ..models.fleet_capacity import FleetCapacity
from ..transport import Transport


class CapacityOperations(Transport):
    def read_capacity(
        self,
    ) -> FleetCapacity:
        """Read capacity"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/capacity",
            **_kwargs,
        )
        response_200 = FleetCapacity.from_dict(response.json())

        return response_200
