"""Operations under `/api/v1/rollouts`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.list_rollouts_state import ListRolloutsState
from ..models.rollout import Rollout
from ..models.rollout_abort_request import RolloutAbortRequest
from ..models.rollout_create_request import RolloutCreateRequest
from ..models.rollout_event import RolloutEvent
from ..models.rollout_event_page import RolloutEventPage
from ..models.rollout_page import RolloutPage
from ..transport import Transport
from ..types import UNSET, Unset


class RolloutsOperations(Transport):
    def list_rollouts(
        self,
        *,
        after: str | Unset = UNSET,
        endpoint_id: str | Unset = UNSET,
        limit: int | Unset = 20,
        state: ListRolloutsState | Unset = UNSET,
    ) -> RolloutPage:
        """List rollouts"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["endpoint_id"] = endpoint_id

        params["limit"] = limit

        json_state: str | Unset = UNSET
        if not isinstance(state, Unset):
            json_state = state.value

        params["state"] = json_state

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/rollouts",
            **_kwargs,
        )
        response_200 = RolloutPage.from_dict(response.json())

        return response_200

    def iterate_rollouts(
        self,
        *,
        after: str | Unset = UNSET,
        endpoint_id: str | Unset = UNSET,
        limit: int | Unset = 20,
        state: ListRolloutsState | Unset = UNSET,
    ) -> Iterator[Rollout]:
        """Every item of `list_rollouts`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_rollouts(
                after=after,
                endpoint_id=endpoint_id,
                limit=limit,
                state=state,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def start_rollout(
        self,
        *,
        body: RolloutCreateRequest,
        validate_only: bool | Unset = False,
        if_match: str | Unset = UNSET,
        idempotency_key: str | Unset = UNSET,
    ) -> Rollout:
        """Roll an endpoint out to a changed deployment, by default as a canary. While it serves worse than the old one
        (error rate, time to the first token, time per token, acceptance length; with confidence), the rollout aborts
        itself. An endpoint has one open rollout at most."""
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
        _kwargs["json"] = body.to_dict()

        response = self.send(
            "POST",
            "/api/v1/rollouts",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Rollout.from_dict(response.json())

            return response_200

        response_202 = Rollout.from_dict(response.json())

        return response_202

    def read_rollout(
        self,
        rollout_id: str,
    ) -> Rollout:
        """Read rollout"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/rollouts/{rollout_id}".format(
                rollout_id=quote(str(rollout_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Rollout.from_dict(response.json())

        return response_200

    def abort_rollout(
        self,
        rollout_id: str,
        *,
        body: RolloutAbortRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Rollout:
        """Return all requests to the deployment before."""
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
            "/api/v1/rollouts/{rollout_id}/abort".format(
                rollout_id=quote(str(rollout_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Rollout.from_dict(response.json())

            return response_200

        response_202 = Rollout.from_dict(response.json())

        return response_202

    def list_rollout_events(
        self,
        rollout_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> RolloutEventPage:
        """List rollout events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/rollouts/{rollout_id}/events".format(
                rollout_id=quote(str(rollout_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = RolloutEventPage.from_dict(response.json())

        return response_200

    def iterate_rollout_events(
        self,
        rollout_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[RolloutEvent]:
        """Every item of `list_rollout_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_rollout_events(
                rollout_id=rollout_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def pause_rollout(
        self,
        rollout_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Rollout:
        """Keep the shares as they are. What gets worse is still aborted."""
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
            "/api/v1/rollouts/{rollout_id}/pause".format(
                rollout_id=quote(str(rollout_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Rollout.from_dict(response.json())

            return response_200

        response_202 = Rollout.from_dict(response.json())

        return response_202

    def promote_rollout(
        self,
        rollout_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Rollout:
        """Shift everything as soon as nodes have the new deployment, and observe no more."""
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
            "/api/v1/rollouts/{rollout_id}/promote".format(
                rollout_id=quote(str(rollout_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Rollout.from_dict(response.json())

            return response_200

        response_202 = Rollout.from_dict(response.json())

        return response_202

    def resume_rollout(
        self,
        rollout_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Rollout:
        """Go on; the present step is observed anew."""
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
            "/api/v1/rollouts/{rollout_id}/resume".format(
                rollout_id=quote(str(rollout_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Rollout.from_dict(response.json())

            return response_200

        response_202 = Rollout.from_dict(response.json())

        return response_202
