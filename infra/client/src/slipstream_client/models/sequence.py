from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Sequence")


@_attrs_define
class Sequence:
    """How far a boot's usage has arrived; `gaps` are half-open ranges that are missing below the highest number.

    Attributes:
        boot_id (str):
        acknowledged (int):
        gaps (list[list[int]]):
    """

    boot_id: str
    acknowledged: int
    gaps: list[list[int]]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        boot_id = self.boot_id

        acknowledged = self.acknowledged

        gaps = []
        for gaps_item_data in self.gaps:
            gaps_item = gaps_item_data

            gaps.append(gaps_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "boot_id": boot_id,
                "acknowledged": acknowledged,
                "gaps": gaps,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        boot_id = d.pop("boot_id")

        acknowledged = d.pop("acknowledged")

        gaps = []
        _gaps = d.pop("gaps")
        for gaps_item_data in _gaps:
            gaps_item = cast(list[int], gaps_item_data)

            gaps.append(gaps_item)

        sequence = cls(
            boot_id=boot_id,
            acknowledged=acknowledged,
            gaps=gaps,
        )

        sequence.additional_properties = d
        return sequence

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
