"""Operations under `/api/v1/invitations`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any

from ..models.invitation_accept_request import InvitationAcceptRequest
from ..models.member import Member
from ..transport import Transport
from ..types import UNSET, Unset


class InvitationsOperations(Transport):
    def accept_invitation(
        self,
        *,
        body: InvitationAcceptRequest,
        validate_only: bool | Unset = False,
        idempotency_key: str | Unset = UNSET,
    ) -> Member:
        """Join as the signed-in person, whose verified address must be the invited one. Not for keys."""
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
            "/api/v1/invitations/accept",
            **_kwargs,
        )
        if response.status_code == 200:
            response_200 = Member.from_dict(response.json())

            return response_200

        response_201 = Member.from_dict(response.json())

        return response_201
