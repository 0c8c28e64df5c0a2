from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.loaded_state_enum import LoadedStateEnum

T = TypeVar("T", bound="Loaded")


@_attrs_define
class Loaded:
    """
    Attributes:
        endpoint_id (str):
        speculator_version_id (str):
        state (LoadedStateEnum): * `loaded` - loaded
            * `refused` - refused
        reason (str):
    """

    endpoint_id: str
    speculator_version_id: str
    state: LoadedStateEnum
    reason: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        endpoint_id = self.endpoint_id

        speculator_version_id = self.speculator_version_id

        state = self.state.value

        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "endpoint_id": endpoint_id,
                "speculator_version_id": speculator_version_id,
                "state": state,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        endpoint_id = d.pop("endpoint_id")

        speculator_version_id = d.pop("speculator_version_id")

        state = LoadedStateEnum(d.pop("state"))

        reason = d.pop("reason")

        loaded = cls(
            endpoint_id=endpoint_id,
            speculator_version_id=speculator_version_id,
            state=state,
            reason=reason,
        )

        loaded.additional_properties = d
        return loaded

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
