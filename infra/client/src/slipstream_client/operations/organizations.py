"""Operations under `/api/v1/organizations`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..models.invitation import Invitation
from ..models.invitation_create_request import InvitationCreateRequest
from ..models.invitation_page import InvitationPage
from ..models.member import Member
from ..models.member_page import MemberPage
from ..models.name_body_request import NameBodyRequest
from ..models.organization import Organization
from ..models.organization_page import OrganizationPage
from ..models.patched_member_update_request import PatchedMemberUpdateRequest
from ..models.patched_organization_update_request import (
    PatchedOrganizationUpdateRequest,
)
from ..transport import Transport
from ..types import UNSET, Unset


class OrganizationsOperations(Transport):
    def list_organizations(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> OrganizationPage:
        """List organizations"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/organizations",
            **_kwargs,
        )
        response_200 = OrganizationPage.from_dict(response.json())

        return response_200

    def iterate_organizations(
        self,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Organization]:
        """Every item of `list_organizations`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_organizations(
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_organization(
        self,
        *,
        body: NameBodyRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Organization:
        """Found an organization; the signed-in person becomes its owner. Not for service keys."""
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
            "/api/v1/organizations",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Organization.from_dict(response.json())

            return response_200

        response_201 = Organization.from_dict(response.json())

        return response_201

    def read_organization(
        self,
        organization_id: str,
    ) -> Organization:
        """Read organization"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/organizations/{organization_id}".format(
                organization_id=quote(str(organization_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Organization.from_dict(response.json())

        return response_200

    def update_organization(
        self,
        organization_id: str,
        *,
        body: PatchedOrganizationUpdateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
    ) -> Organization:
        """Update organization"""
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
            "/api/v1/organizations/{organization_id}".format(
                organization_id=quote(str(organization_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Organization.from_dict(response.json())

        return response_200

    def list_invitations(
        self,
        organization_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> InvitationPage:
        """List invitations"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/organizations/{organization_id}/invitations".format(
                organization_id=quote(str(organization_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = InvitationPage.from_dict(response.json())

        return response_200

    def iterate_invitations(
        self,
        organization_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Invitation]:
        """Every item of `list_invitations`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_invitations(
                organization_id=organization_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def create_invitation(
        self,
        organization_id: str,
        *,
        body: InvitationCreateRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Invitation:
        """Ask somebody to join, by a mail with a link that holds for seven days and for one person. Nobody gives more
        than they have."""
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
            "/api/v1/organizations/{organization_id}/invitations".format(
                organization_id=quote(str(organization_id), safe=""),
            ),
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Invitation.from_dict(response.json())

            return response_200

        response_201 = Invitation.from_dict(response.json())

        return response_201

    def read_invitation(
        self,
        organization_id: str,
        invitation_id: str,
    ) -> Invitation:
        """Read invitation"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/organizations/{organization_id}/invitations/{invitation_id}".format(
                organization_id=quote(str(organization_id), safe=""),
                invitation_id=quote(str(invitation_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Invitation.from_dict(response.json())

        return response_200

    def revoke_invitation(
        self,
        organization_id: str,
        invitation_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> Invitation:
        """Revoke invitation"""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "DELETE",
            "/api/v1/organizations/{organization_id}/invitations/{invitation_id}".format(
                organization_id=quote(str(organization_id), safe=""),
                invitation_id=quote(str(invitation_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Invitation.from_dict(response.json())

        return response_200

    def resend_invitation(
        self,
        organization_id: str,
        invitation_id: str,
        *,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Invitation:
        """Mail it again with a new link; the one before stops working."""
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
            "/api/v1/organizations/{organization_id}/invitations/{invitation_id}/resend".format(
                organization_id=quote(str(organization_id), safe=""),
                invitation_id=quote(str(invitation_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Invitation.from_dict(response.json())

        return response_200

    def list_members(
        self,
        organization_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> MemberPage:
        """List members"""

        params: dict[str, Any] = {}

        params["after"] = after

        params["limit"] = limit

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        response = self.send(
            "GET",
            "/api/v1/organizations/{organization_id}/members".format(
                organization_id=quote(str(organization_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = MemberPage.from_dict(response.json())

        return response_200

    def iterate_members(
        self,
        organization_id: str,
        *,
        after: str | Unset = UNSET,
        limit: int | Unset = 20,
    ) -> Iterator[Member]:
        """Every item of `list_members`; `limit` is the size of the pages in which they are read."""
        while True:
            found = self.list_members(
                organization_id=organization_id,
                after=after,
                limit=limit,
            )
            yield from found.data
            if found.next_cursor is None:
                return
            after = found.next_cursor

    def remove_member(
        self,
        organization_id: str,
        member_id: str,
        *,
        validate_only: bool | Unset = False,
    ) -> Any:
        """Remove member"""

        params: dict[str, Any] = {}

        params["validate_only"] = validate_only

        params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

        _kwargs: dict[str, Any] = {
            "params": params,
        }
        self.send(
            "DELETE",
            "/api/v1/organizations/{organization_id}/members/{member_id}".format(
                organization_id=quote(str(organization_id), safe=""),
                member_id=quote(str(member_id), safe=""),
            ),
            **_kwargs,
        )
        return None

    def change_member_role(
        self,
        organization_id: str,
        member_id: str,
        *,
        body: PatchedMemberUpdateRequest | Unset = UNSET,
        validate_only: bool | Unset = False,
    ) -> Member:
        """Change member role"""
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
            "/api/v1/organizations/{organization_id}/members/{member_id}".format(
                organization_id=quote(str(organization_id), safe=""),
                member_id=quote(str(member_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Member.from_dict(response.json())

        return response_200
