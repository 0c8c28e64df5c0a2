"""Operations under `/api/v1/deployments`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.deployment import Deployment
from ..models.deployment_page import DeploymentPage
from ..transport import Transport
from ..types import UNSET, Unset


class DeploymentsOperations(Transport):
    def list_deployments(
        self,
        *,
        after: str | Unset = UNSET,
        endpoint_id: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> DeploymentPage:
        """List deployments"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["endpoint_id"] = endpoint_id

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/deployments",
            **_kwargs,
        )
        response_200 = DeploymentPage.from_dict(response.json())

        return response_200

    def iterate_deployments(
        self,
        *,
        after: str | Unset = UNSET,
        endpoint_id: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Deployment]:
        """Every item of `list_deployments`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_deployments(
                after=after,
                endpoint_id=endpoint_id,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def read_deployment(
        self,
        deployment_id: str,
    ) -> Deployment:
        """Read deployment"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/deployments/{deployment_id}".format(
                deployment_id=quote(str(deployment_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Deployment.from_dict(response.json())

        return response_200
