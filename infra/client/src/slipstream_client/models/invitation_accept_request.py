from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="InvitationAcceptRequest")


@_attrs_define
class InvitationAcceptRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        token (str): The last part of the link in the mail, `sli_…`.
    """

    token: str

    def to_dict(self) -> dict[str, Any]:
        token = self.token

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "token": token,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        token = d.pop("token")

        invitation_accept_request = cls(
            token=token,
        )

        return invitation_accept_request
