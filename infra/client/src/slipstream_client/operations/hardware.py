"""Operations under `/api/v1/hardware`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any

from ..models.hardware_page import HardwarePage
from ..transport import Transport


class HardwareOperations(Transport):
    def list_hardware(
        self,
    ) -> HardwarePage:
        """List hardware"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/hardware",
            **_kwargs,
        )
        response_200 = HardwarePage.from_dict(response.json())

        return response_200
