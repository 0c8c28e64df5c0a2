"""Operations under `/api/v1/speculators`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.adaptation_event import AdaptationEvent
from ..models.adaptation_event_page import AdaptationEventPage
from ..models.rollback_body_request import RollbackBodyRequest
from ..models.speculator import Speculator
from ..models.speculator_page import SpeculatorPage
from ..models.speculator_policy import SpeculatorPolicy
from ..models.speculator_policy_body_request import SpeculatorPolicyBodyRequest
from ..models.training_estimate import TrainingEstimate
from ..transport import Transport
from ..types import UNSET, Unset


class SpeculatorsOperations(Transport):
    def list_speculators(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
    ) -> SpeculatorPage:
        """List speculators"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params["project_id"] = project_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/speculators",
            **_kwargs,
        )
        response_200 = SpeculatorPage.from_dict(response.json())

        return response_200

    def iterate_speculators(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
    ) -> Iterator[Speculator]:
        """Every item of `list_speculators`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_speculators(
                after=after,
                limit=limit,
                project_id=project_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def read_speculator(
        self,
        speculator_id: str,
    ) -> Speculator:
        """Read speculator"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/speculators/{speculator_id}".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Speculator.from_dict(response.json())

        return response_200

    def list_speculator_events(
        self,
        speculator_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> AdaptationEventPage:
        """Everything that happened to the speculator, newest first: training, gate, promotions, drift."""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/speculators/{speculator_id}/events".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = AdaptationEventPage.from_dict(response.json())

        return response_200

    def iterate_speculator_events(
        self,
        speculator_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[AdaptationEvent]:
        """Every item of `list_speculator_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_speculator_events(
                speculator_id=speculator_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def freeze_speculator(
        self,
        speculator_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Speculator:
        """No training, no automatic promotion or rollback, until it is thawed. A person still may promote and roll back."""
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
            "/api/v1/speculators/{speculator_id}/freeze".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Speculator.from_dict(response.json())

        return response_200

    def read_speculator_policy(
        self,
        speculator_id: str,
    ) -> SpeculatorPolicy:
        """Read speculator policy"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/speculators/{speculator_id}/policy".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorPolicy.from_dict(response.json())

        return response_200

    def set_speculator_policy(
        self,
        speculator_id: str,
        *,
        body: SpeculatorPolicyBodyRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
    ) -> SpeculatorPolicy:
        """Replace the policy. A run keeps the thresholds that it was judged by in its gate."""
        headers: dict[str, Any] = {}

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
            "PUT",
            "/api/v1/speculators/{speculator_id}/policy".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorPolicy.from_dict(response.json())

        return response_200

    def rollback_speculator(
        self,
        speculator_id: str,
        *,
        body: RollbackBodyRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Speculator:
        """Return to the last good version before the active one; without one, to the static speculator."""
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
            "/api/v1/speculators/{speculator_id}/rollback".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Speculator.from_dict(response.json())

        return response_200

    def thaw_speculator(
        self,
        speculator_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Speculator:
        """Learn again. This also unpins: the pinned version stays until a better one is promoted."""
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
            "/api/v1/speculators/{speculator_id}/thaw".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Speculator.from_dict(response.json())

        return response_200

    def estimate_training(
        self,
        speculator_id: str,
    ) -> TrainingEstimate:
        """What a training run would read, take and cost, before it is started."""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/speculators/{speculator_id}/training-estimate".format(
                speculator_id=quote(str(speculator_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = TrainingEstimate.from_dict(response.json())

        return response_200
