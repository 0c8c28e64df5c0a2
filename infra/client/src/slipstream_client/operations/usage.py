"""Operations under `/api/v1/usage`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

import datetime
from typing import Any

from ..models.usage_report import UsageReport
from ..transport import Transport
from ..types import UNSET, Unset


class UsageOperations(Transport):
    def read_usage(
        self,
        *,
        end: datetime.datetime | Unset = UNSET,
        group_by: str | Unset = UNSET,
        organization_id: str | Unset = UNSET,
        project_id: str | Unset = UNSET,
        start: datetime.datetime | Unset = UNSET,
    ) -> UsageReport:
        """Read usage"""

        params: dict[str, Any] = {}

        json_end: str | Unset = UNSET
        if not isinstance(end, Unset):
            json_end = end.isoformat()
        params["end"] = json_end

        params["group_by"] = group_by

        params["organization_id"] = organization_id

        params["project_id"] = project_id

        json_start: str | Unset = UNSET
        if not isinstance(start, Unset):
            json_start = start.isoformat()
        params["start"] = json_start

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/usage",
            **_kwargs,
        )
        response_200 = UsageReport.from_dict(response.json())

        return response_200
