"""Operations under `/api/v1/nodes`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.node import Node
from ..models.node_event import NodeEvent
from ..models.node_event_page import NodeEventPage
from ..models.node_page import NodePage
from ..models.placement import Placement
from ..models.placement_page import PlacementPage
from ..transport import Transport
from ..types import UNSET, Unset


class NodesOperations(Transport):
    def list_nodes(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> NodePage:
        """List nodes"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/nodes",
            **_kwargs,
        )
        response_200 = NodePage.from_dict(response.json())

        return response_200

    def iterate_nodes(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Node]:
        """Every item of `list_nodes`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_nodes(
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def read_node(
        self,
        node_id: str,
    ) -> Node:
        """Read node"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/nodes/{node_id}".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Node.from_dict(response.json())

        return response_200

    def cordon_node(
        self,
        node_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Node:
        """The node keeps and serves the projects that it has, and gets no new ones."""
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
        response = self.send(
            "POST",
            "/api/v1/nodes/{node_id}/cordon".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Node.from_dict(response.json())

            return response_200

        response_202 = Node.from_dict(response.json())

        return response_202

    def drain_node(
        self,
        node_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Node:
        """The node's projects are placed on others, which take over before this one lets go; then it finishes its
        requests (each at most as long as the node's request timeout, by default 600 seconds), sends its usage and
        traffic, and becomes `drained`. Projects that no other node can take stay: watch `placed_projects`."""
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
        response = self.send(
            "POST",
            "/api/v1/nodes/{node_id}/drain".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Node.from_dict(response.json())

            return response_200

        response_202 = Node.from_dict(response.json())

        return response_202

    def list_node_events(
        self,
        node_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> NodeEventPage:
        """List node events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/nodes/{node_id}/events".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = NodeEventPage.from_dict(response.json())

        return response_200

    def iterate_node_events(
        self,
        node_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[NodeEvent]:
        """Every item of `list_node_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_node_events(
                node_id=node_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def list_node_placements(
        self,
        node_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> PlacementPage:
        """List node placements"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/nodes/{node_id}/placements".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = PlacementPage.from_dict(response.json())

        return response_200

    def iterate_node_placements(
        self,
        node_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Placement]:
        """Every item of `list_node_placements`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_node_placements(
                node_id=node_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def revoke_node_credential(
        self,
        node_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Node:
        """The node is told to stop serving at its next call, and is `lost`: its name is free again."""
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
        response = self.send(
            "POST",
            "/api/v1/nodes/{node_id}/revoke-credential".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Node.from_dict(response.json())

        return response_200

    def uncordon_node(
        self,
        node_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Node:
        """The node takes projects again, also one that was drained or is being drained."""
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
        response = self.send(
            "POST",
            "/api/v1/nodes/{node_id}/uncordon".format(
                node_id=quote(str(node_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Node.from_dict(response.json())

            return response_200

        response_202 = Node.from_dict(response.json())

        return response_202
