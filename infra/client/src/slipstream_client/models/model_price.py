from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ModelPrice")


@_attrs_define
class ModelPrice:
    """Micro-dollars per million tokens.

    Attributes:
        id (str):
        effective_from (datetime.datetime):
        prompt (int):
        cached (int):
        completion (int):
    """

    id: str
    effective_from: datetime.datetime
    prompt: int
    cached: int
    completion: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        effective_from = self.effective_from.isoformat()

        prompt = self.prompt

        cached = self.cached

        completion = self.completion

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "effective_from": effective_from,
                "prompt": prompt,
                "cached": cached,
                "completion": completion,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        effective_from = datetime.datetime.fromisoformat(d.pop("effective_from"))

        prompt = d.pop("prompt")

        cached = d.pop("cached")

        completion = d.pop("completion")

        model_price = cls(
            id=id,
            effective_from=effective_from,
            prompt=prompt,
            cached=cached,
            completion=completion,
        )

        model_price.additional_properties = d
        return model_price

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
