"""Operations under `/api/v1/projects`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.end_user_erasure_body_request import EndUserErasureBodyRequest
from ..models.erasure_receipt import ErasureReceipt
from ..models.erasure_receipt_page import ErasureReceiptPage
from ..models.patched_project_update_request import PatchedProjectUpdateRequest
from ..models.project import Project
from ..models.project_create_request import ProjectCreateRequest
from ..models.project_page import ProjectPage
from ..models.traffic import Traffic
from ..models.traffic_policy import TrafficPolicy
from ..models.traffic_policy_body_request import TrafficPolicyBodyRequest
from ..transport import Transport
from ..types import UNSET, Unset


class ProjectsOperations(Transport):
    def list_projects(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> ProjectPage:
        """List projects"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params["organization_id"] = organization_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/projects",
            **_kwargs,
        )
        response_200 = ProjectPage.from_dict(response.json())

        return response_200

    def iterate_projects(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
        organization_id: str | Unset = UNSET,
    ) -> Iterator[Project]:
        """Every item of `list_projects`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_projects(
                after=after,
                limit=limit,
                organization_id=organization_id,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_project(
        self,
        *,
        body: ProjectCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Project:
        """Create project"""
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
            "/api/v1/projects",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Project.from_dict(response.json())

            return response_200

        response_201 = Project.from_dict(response.json())

        return response_201

    def read_project(
        self,
        project_id: str,
    ) -> Project:
        """Read project"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/projects/{project_id}".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Project.from_dict(response.json())

        return response_200

    def update_project(
        self,
        project_id: str,
        *,
        body: PatchedProjectUpdateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
    ) -> Project:
        """Update project"""
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
            "PATCH",
            "/api/v1/projects/{project_id}".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Project.from_dict(response.json())

        return response_200

    def read_traffic(
        self,
        project_id: str,
    ) -> Traffic:
        """Read traffic"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/projects/{project_id}/traffic".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Traffic.from_dict(response.json())

        return response_200

    def delete_traffic(
        self,
        project_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> ErasureReceipt:
        """Delete the project's stored traffic and retire every version that learned from it."""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "DELETE",
            "/api/v1/projects/{project_id}/traffic".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = ErasureReceipt.from_dict(response.json())

            return response_200

        response_202 = ErasureReceipt.from_dict(response.json())

        return response_202

    def list_traffic_erasures(
        self,
        project_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> ErasureReceiptPage:
        """List traffic erasures"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/projects/{project_id}/traffic-erasures".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = ErasureReceiptPage.from_dict(response.json())

        return response_200

    def iterate_traffic_erasures(
        self,
        project_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[ErasureReceipt]:
        """Every item of `list_traffic_erasures`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_traffic_erasures(
                project_id=project_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def delete_end_user_traffic(
        self,
        project_id: str,
        *,
        body: EndUserErasureBodyRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> ErasureReceipt:
        """Delete what one end user sent, and every version that learned from it. Nodes forget what the project's memory
        learned."""
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
            "/api/v1/projects/{project_id}/traffic-erasures".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = ErasureReceipt.from_dict(response.json())

            return response_200

        response_202 = ErasureReceipt.from_dict(response.json())

        return response_202

    def export_traffic(
        self,
        project_id: str,
        *,
        after: int | Unset = 0,
        end_user_id: str | Unset = UNSET,
    ) -> str:
        """The stored records, at least 1000 where there are as many: go on with the header `x-slipstream-next-after` as
        `after` until it is missing. Text beside the tokens where this service has the model's vocabulary. Audited."""

        params: dict[str, Any] = {}

        params["after"] = after

        params["end_user_id"] = end_user_id

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/projects/{project_id}/traffic-export".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = response.text
        return response_200

    def read_traffic_policy(
        self,
        project_id: str,
    ) -> TrafficPolicy:
        """Read traffic policy"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/projects/{project_id}/traffic-policy".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = TrafficPolicy.from_dict(response.json())

        return response_200

    def set_traffic_policy(
        self,
        project_id: str,
        *,
        body: TrafficPolicyBodyRequest,
        validate_only: bool | Unset = False,
    ) -> TrafficPolicy:
        """Give or withdraw the consent to train on the project's traffic. Off by default."""
        headers: dict[str, Any] = {}

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
            "headers": headers,
        }
        _kwargs["json"] = body.to_dict()

        response = self.send(
            "PUT",
            "/api/v1/projects/{project_id}/traffic-policy".format(
                project_id=quote(str(project_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = TrafficPolicy.from_dict(response.json())

        return response_200
