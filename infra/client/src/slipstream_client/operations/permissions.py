"""Operations under `/api/v1/permissions`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any

from ..models.permissions import Permissions
from ..transport import Transport


class PermissionsOperations(Transport):
    def list_permissions(
        self,
    ) -> Permissions:
        """Every permission, with the roles that have it. The same for everybody."""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/permissions",
            **_kwargs,
        )
        response_200 = Permissions.from_dict(response.json())

        return response_200
