"""Operations under `/api/v1/endpoints`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.endpoint import Endpoint
from ..models.endpoint_create_request import EndpointCreateRequest
from ..models.endpoint_event import EndpointEvent
from ..models.endpoint_event_page import EndpointEventPage
from ..models.endpoint_page import EndpointPage
from ..models.endpoint_undelete_request import EndpointUndeleteRequest
from ..models.patched_endpoint_update_request import PatchedEndpointUpdateRequest
from ..models.rollout import Rollout
from ..transport import Transport
from ..types import UNSET, Unset


class EndpointsOperations(Transport):
    def list_endpoints(
        self,
        *,
        after: str | Unset = UNSET,
        deleted: bool | Unset = False,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
    ) -> EndpointPage:
        """List endpoints"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["deleted"] = deleted

        params["limit"] = limit

        params["project_id"] = project_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/endpoints",
            **_kwargs,
        )
        response_200 = EndpointPage.from_dict(response.json())

        return response_200

    def iterate_endpoints(
        self,
        *,
        after: str | Unset = UNSET,
        deleted: bool | Unset = False,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
    ) -> Iterator[Endpoint]:
        """Every item of `list_endpoints`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_endpoints(
                after=after,
                deleted=deleted,
                limit=limit,
                project_id=project_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_endpoint(
        self,
        *,
        body: EndpointCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Endpoint:
        """The endpoint starts by itself; watch `state`."""
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
            "/api/v1/endpoints",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Endpoint.from_dict(response.json())

            return response_200

        response_202 = Endpoint.from_dict(response.json())

        return response_202

    def read_endpoint(
        self,
        endpoint_id: str,
    ) -> Endpoint:
        """Read endpoint"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/endpoints/{endpoint_id}".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Endpoint.from_dict(response.json())

        return response_200

    def delete_endpoint(
        self,
        endpoint_id: str,
        *,
        validate_only: bool | Unset = False,
        if_match: str | Unset = UNSET,
    ) -> Endpoint:
        """Nodes stop serving it, and its name is free. It can be brought back until `undelete_until`."""
        headers: dict[str, Any] = {}
        if not isinstance(if_match, Unset):
            headers["If-Match"] = if_match

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }
        response = self.send(
            "DELETE",
            "/api/v1/endpoints/{endpoint_id}".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Endpoint.from_dict(response.json())

            return response_200

        response_202 = Endpoint.from_dict(response.json())

        return response_202

    def update_endpoint(
        self,
        endpoint_id: str,
        *,
        body: PatchedEndpointUpdateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        if_match: str,
    ) -> Endpoint:
        """Change the replicas, or the speculation policy: that makes a new deployment and rolls it out, at once or as
        `rollout` says (then the policy here changes when the rollout completes). `If-Match` is required."""
        headers: dict[str, Any] = {}
        headers["If-Match"] = if_match

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
            "PATCH",
            "/api/v1/endpoints/{endpoint_id}".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Endpoint.from_dict(response.json())

        return response_200

    def list_endpoint_events(
        self,
        endpoint_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> EndpointEventPage:
        """List endpoint events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/endpoints/{endpoint_id}/events".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = EndpointEventPage.from_dict(response.json())

        return response_200

    def iterate_endpoint_events(
        self,
        endpoint_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[EndpointEvent]:
        """Every item of `list_endpoint_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_endpoint_events(
                endpoint_id=endpoint_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def roll_back_endpoint(
        self,
        endpoint_id: str,
        *,
        validate_only: bool | Unset = False,
        if_match: str | Unset = UNSET,
        idempotency_key: str | Unset = UNSET,
    ) -> Rollout:
        """In one call: abort the open rollout; without one, return at once to the deployment before the active one.
        Repeated, it goes further back."""
        headers: dict[str, Any] = {}
        if not isinstance(if_match, Unset):
            headers["If-Match"] = if_match

        if not isinstance(idempotency_key, Unset):
            headers["Idempotency-Key"] = idempotency_key

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }
        response = self.send(
            "POST",
            "/api/v1/endpoints/{endpoint_id}/rollback".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Rollout.from_dict(response.json())

            return response_200

        response_202 = Rollout.from_dict(response.json())

        return response_202

    def start_endpoint(
        self,
        endpoint_id: str,
        *,
        validate_only: bool | Unset = False,
        if_match: str | Unset = UNSET,
        idempotency_key: str | Unset = UNSET,
    ) -> Endpoint:
        """Start endpoint"""
        headers: dict[str, Any] = {}
        if not isinstance(if_match, Unset):
            headers["If-Match"] = if_match

        if not isinstance(idempotency_key, Unset):
            headers["Idempotency-Key"] = idempotency_key

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }
        response = self.send(
            "POST",
            "/api/v1/endpoints/{endpoint_id}/start".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Endpoint.from_dict(response.json())

            return response_200

        response_202 = Endpoint.from_dict(response.json())

        return response_202

    def stop_endpoint(
        self,
        endpoint_id: str,
        *,
        validate_only: bool | Unset = False,
        if_match: str | Unset = UNSET,
        idempotency_key: str | Unset = UNSET,
    ) -> Endpoint:
        """Stop endpoint"""
        headers: dict[str, Any] = {}
        if not isinstance(if_match, Unset):
            headers["If-Match"] = if_match

        if not isinstance(idempotency_key, Unset):
            headers["Idempotency-Key"] = idempotency_key

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }
        response = self.send(
            "POST",
            "/api/v1/endpoints/{endpoint_id}/stop".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Endpoint.from_dict(response.json())

            return response_200

        response_202 = Endpoint.from_dict(response.json())

        return response_202

    def undelete_endpoint(
        self,
        endpoint_id: str,
        *,
        body: EndpointUndeleteRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Endpoint:
        """Bring a deleted endpoint back, running or stopped as it was, until `undelete_until`. Where its name was given
        to another endpoint, it needs a new one."""
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
            "/api/v1/endpoints/{endpoint_id}/undelete".format(
                endpoint_id=quote(str(endpoint_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Endpoint.from_dict(response.json())

            return response_200

        response_202 = Endpoint.from_dict(response.json())

        return response_202
