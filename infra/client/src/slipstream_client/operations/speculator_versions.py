"""Operations under `/api/v1/speculator-versions`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.comparison import Comparison
from ..models.list_speculator_versions_state import ListSpeculatorVersionsState
from ..models.promote_body_request import PromoteBodyRequest
from ..models.retire_body_request import RetireBodyRequest
from ..models.speculator_version import SpeculatorVersion
from ..models.speculator_version_event import SpeculatorVersionEvent
from ..models.speculator_version_event_page import SpeculatorVersionEventPage
from ..models.speculator_version_page import SpeculatorVersionPage
from ..models.version_export import VersionExport
from ..transport import Transport
from ..types import UNSET, Unset


class SpeculatorVersionsOperations(Transport):
    def list_speculator_versions(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
        speculator_id: str | Unset = UNSET,
        state: ListSpeculatorVersionsState | Unset = UNSET,
    ) -> SpeculatorVersionPage:
        """List speculator versions"""

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
            "/api/v1/speculator-versions",
            **_kwargs,
        )
        response_200 = SpeculatorVersionPage.from_dict(response.json())

        return response_200

    def iterate_speculator_versions(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        project_id: str | Unset = UNSET,
        speculator_id: str | Unset = UNSET,
        state: ListSpeculatorVersionsState | Unset = UNSET,
    ) -> Iterator[SpeculatorVersion]:
        """Every item of `list_speculator_versions`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_speculator_versions(
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

    def read_speculator_version(
        self,
        version_id: str,
    ) -> SpeculatorVersion:
        """Read speculator version"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/speculator-versions/{version_id}".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorVersion.from_dict(response.json())

        return response_200

    def compare_speculator_versions(
        self,
        version_id: str,
        *,
        with_: str | Unset = UNSET,
    ) -> Comparison:
        """Each version's evaluation on its own held-out traffic, and its last day in service."""

        params: dict[str, Any] = {}

        params["with"] = with_

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/speculator-versions/{version_id}/compare".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Comparison.from_dict(response.json())

        return response_200

    def list_speculator_version_events(
        self,
        version_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> SpeculatorVersionEventPage:
        """List speculator version events"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/speculator-versions/{version_id}/events".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorVersionEventPage.from_dict(response.json())

        return response_200

    def iterate_speculator_version_events(
        self,
        version_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[SpeculatorVersionEvent]:
        """Every item of `list_speculator_version_events`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_speculator_version_events(
                version_id=version_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def export_speculator_version(
        self,
        version_id: str,
    ) -> VersionExport:
        """Signed URLs, valid for 600 seconds, of the artifact (safetensors) and its signed manifest. Audited."""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/speculator-versions/{version_id}/export".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = VersionExport.from_dict(response.json())

        return response_200

    def pin_speculator_version(
        self,
        version_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> SpeculatorVersion:
        """Promote this version and freeze its speculator."""
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
            "/api/v1/speculator-versions/{version_id}/pin".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorVersion.from_dict(response.json())

        return response_200

    def promote_speculator_version(
        self,
        version_id: str,
        *,
        body: PromoteBodyRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> SpeculatorVersion:
        """Make the version the live one: as `rollout` says, else as the speculator's policy does. A canary shifts the
        requests of one endpoint step by step; the version is `canary` meanwhile, and `active` or `quarantined`
        afterwards."""
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
            "/api/v1/speculator-versions/{version_id}/promote".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorVersion.from_dict(response.json())

        return response_200

    def retire_speculator_version(
        self,
        version_id: str,
        *,
        body: RetireBodyRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> SpeculatorVersion:
        """The version never serves again. If it was active, the static speculator takes over."""
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
            "/api/v1/speculator-versions/{version_id}/retire".format(
                version_id=quote(str(version_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = SpeculatorVersion.from_dict(response.json())

        return response_200
