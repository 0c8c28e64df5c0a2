from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.role_enum import RoleEnum

T = TypeVar("T", bound="ServiceAccountCreateRequest")


@_attrs_define
class ServiceAccountCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        organization_id (str):
        name (str):
        role (RoleEnum): * `owner` - owner
            * `admin` - admin
            * `developer` - developer
            * `billing` - billing
            * `viewer` - viewer
    """

    organization_id: str
    name: str
    role: RoleEnum

    def to_dict(self) -> dict[str, Any]:
        organization_id = self.organization_id

        name = self.name

        role = self.role.value

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "organization_id": organization_id,
                "name": name,
                "role": role,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        organization_id = d.pop("organization_id")

        name = d.pop("name")

        role = RoleEnum(d.pop("role"))

        service_account_create_request = cls(
            organization_id=organization_id,
            name=name,
            role=role,
        )

        return service_account_create_request
