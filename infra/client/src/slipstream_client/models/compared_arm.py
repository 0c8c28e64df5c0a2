from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ComparedArm")


@_attrs_define
class ComparedArm:
    """
    Attributes:
        acceptance_length (float | None):
        interval (list[float] | None):
        num_records (int):
    """

    acceptance_length: float | None
    interval: list[float] | None
    num_records: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        acceptance_length: float | None
        acceptance_length = self.acceptance_length

        interval: list[float] | None
        if isinstance(self.interval, list):
            interval = self.interval

        else:
            interval = self.interval

        num_records = self.num_records

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "acceptance_length": acceptance_length,
                "interval": interval,
                "num_records": num_records,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_acceptance_length(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        acceptance_length = _parse_acceptance_length(d.pop("acceptance_length"))

        def _parse_interval(data: object) -> list[float] | None:
            if data is None:
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                interval_type_0 = cast(list[float], data)

                return interval_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[float] | None, data)

        interval = _parse_interval(d.pop("interval"))

        num_records = d.pop("num_records")

        compared_arm = cls(
            acceptance_length=acceptance_length,
            interval=interval,
            num_records=num_records,
        )

        compared_arm.additional_properties = d
        return compared_arm

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
