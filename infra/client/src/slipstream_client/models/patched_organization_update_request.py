from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="PatchedOrganizationUpdateRequest")


@_attrs_define
class PatchedOrganizationUpdateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        name (str | Unset):
        requires_second_factor (bool | Unset): Owners only. Members without a second factor then see nothing of the
            organization until they set one up; a person who switches it on must have one (409 `second_factor_missing`).
            Keys are not concerned.
    """

    name: str | Unset = UNSET
    requires_second_factor: bool | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        requires_second_factor = self.requires_second_factor

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if requires_second_factor is not UNSET:
            field_dict["requires_second_factor"] = requires_second_factor

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name", UNSET)

        requires_second_factor = d.pop("requires_second_factor", UNSET)

        patched_organization_update_request = cls(
            name=name,
            requires_second_factor=requires_second_factor,
        )

        return patched_organization_update_request
