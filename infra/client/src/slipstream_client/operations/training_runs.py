"""Operations under `/api/v1/training-runs`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.list_training_runs_state import ListTrainingRunsState
from ..models.training_run import TrainingRun
from ..models.training_run_create_request import TrainingRunCreateRequest
from ..models.training_run_detail import TrainingRunDetail
from ..models.training_run_event import TrainingRunEvent
from ..models.training_run_event_page import TrainingRunEventPage
from ..models.training_run_page import TrainingRunPage
from ..transport import Transport
from ..types import UNSET, Unset


class TrainingRunsOperations(Transport):
    def list_training_runs(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
        speculator_id: str | Unset = UNSET,
        state: ListTrainingRunsState | Unset = UNSET,
    ) -> TrainingRunPage:
        """List training runs"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params["project_id"] = project_id

        params["speculator_id"] = speculator_id

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
            "/api/v1/training-runs",
            **_kwargs,
        )
        response_200 = TrainingRunPage.from_dict(response.json())

        return response_200

    def iterate_training_runs(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
        speculator_id: str | Unset = UNSET,
        state: ListTrainingRunsState | Unset = UNSET,
    ) -> Iterator[TrainingRun]:
        """Every item of `list_training_runs`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_training_runs(
                after=after,
                limit=limit,
                project_id=project_id,
                speculator_id=speculator_id,
                state=state,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_training_run(
        self,
        *,
        body: TrainingRunCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> TrainingRun:
        """Learn now, without waiting for more traffic. The gate decides as always. Projects take turns on the workers; a
        project that used up its share of 24 hours is refused (`training_quota`)."""
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
            "/api/v1/training-runs",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = TrainingRun.from_dict(response.json())

            return response_200

        response_202 = TrainingRun.from_dict(response.json())

        return response_202

    def read_training_run(
        self,
        run_id: str,
    ) -> TrainingRunDetail:
        """With the loss as it falls: at most 120 points, spread over the whole run."""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/training-runs/{run_id}".format(
                run_id=quote(str(run_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = TrainingRunDetail.from_dict(response.json())

        return response_200

    def cancel_training_run(
        self,
        run_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> TrainingRun:
        """Cancel training run"""
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
            "/api/v1/training-runs/{run_id}/cancel".format(
                run_id=quote(str(run_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = TrainingRun.from_dict(response.json())

            return response_200

        response_202 = TrainingRun.from_dict(response.json())

        return response_202

    def list_training_run_events(
        self,
        run_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> TrainingRunEventPage:
        """List training run events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/training-runs/{run_id}/events".format(
                run_id=quote(str(run_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = TrainingRunEventPage.from_dict(response.json())

        return response_200

    def iterate_training_run_events(
        self,
        run_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[TrainingRunEvent]:
        """Every item of `list_training_run_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_training_run_events(
                run_id=run_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor
