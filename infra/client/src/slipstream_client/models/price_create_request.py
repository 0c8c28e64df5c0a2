from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="PriceCreateRequest")


@_attrs_define
class PriceCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        model (str):
        effective_from (datetime.datetime):
        prompt (int): Micro-dollars per million tokens.
        cached (int):
        completion (int):
    """

    model: str
    effective_from: datetime.datetime
    prompt: int
    cached: int
    completion: int

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        effective_from = self.effective_from.isoformat()

        prompt = self.prompt

        cached = self.cached

        completion = self.completion

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "model": model,
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
        model = d.pop("model")

        effective_from = datetime.datetime.fromisoformat(d.pop("effective_from"))

        prompt = d.pop("prompt")

        cached = d.pop("cached")

        completion = d.pop("completion")

        price_create_request = cls(
            model=model,
            effective_from=effective_from,
            prompt=prompt,
            cached=cached,
            completion=completion,
        )

        return price_create_request
