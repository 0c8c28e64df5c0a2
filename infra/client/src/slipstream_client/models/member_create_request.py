from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.role_enum import RoleEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="MemberCreateRequest")


@_attrs_define
class MemberCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        email (str):
        role (RoleEnum): * `owner` - owner
            * `admin` - admin
            * `developer` - developer
            * `billing` - billing
            * `viewer` - viewer
        password (str | Unset): First password of somebody who has no account yet.
    """

    email: str
    role: RoleEnum
    password: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        email = self.email

        role = self.role.value

        password = self.password

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "email": email,
                "role": role,
            }
        )
        if password is not UNSET:
            field_dict["password"] = password

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        email = d.pop("email")

        role = RoleEnum(d.pop("role"))

        password = d.pop("password", UNSET)

        member_create_request = cls(
            email=email,
            role=role,
            password=password,
        )

        return member_create_request
