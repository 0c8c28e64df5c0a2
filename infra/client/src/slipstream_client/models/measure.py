from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.name_enum import NameEnum

T = TypeVar("T", bound="Measure")


@_attrs_define
class Measure:
    """
    Attributes:
        name (NameEnum): * `errors` - errors
            * `first_token` - first_token
            * `per_token` - per_token
            * `acceptance` - acceptance
        before (float): Of the old deployment: a rate, seconds, or tokens per step.
        after (float): Of the new one.
        change (float): errors: the difference; else the ratio minus 1.
        bound (float): Confidence bound of the change, on the favourable side.
        limit (float): The new deployment is worse if the bound is beyond.
        worse (bool):
    """

    name: NameEnum
    before: float
    after: float
    change: float
    bound: float
    limit: float
    worse: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name.value

        before = self.before

        after = self.after

        change = self.change

        bound = self.bound

        limit = self.limit

        worse = self.worse

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "before": before,
                "after": after,
                "change": change,
                "bound": bound,
                "limit": limit,
                "worse": worse,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = NameEnum(d.pop("name"))

        before = d.pop("before")

        after = d.pop("after")

        change = d.pop("change")

        bound = d.pop("bound")

        limit = d.pop("limit")

        worse = d.pop("worse")

        measure = cls(
            name=name,
            before=before,
            after=after,
            change=change,
            bound=bound,
            limit=limit,
            worse=worse,
        )

        measure.additional_properties = d
        return measure

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
