from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EstimateBodyRequest")


@_attrs_define
class EstimateBodyRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        model (str): Id of a model of the catalogue.
        requests (int):
        prompt_tokens (int): Of one request.
        completion_tokens (int): Of one request.
        cached_tokens (int | Unset): Those of the prompt that come from the prefix cache. Default: 0.
        training_seconds (int | Unset):  Default: 0.
        min_replicas (int | Unset):  Default: 1.
        max_replicas (int | Unset):  Default: 1.
    """

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | Unset = 0
    training_seconds: int | Unset = 0
    min_replicas: int | Unset = 1
    max_replicas: int | Unset = 1

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        requests = self.requests

        prompt_tokens = self.prompt_tokens

        completion_tokens = self.completion_tokens

        cached_tokens = self.cached_tokens

        training_seconds = self.training_seconds

        min_replicas = self.min_replicas

        max_replicas = self.max_replicas

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "model": model,
                "requests": requests,
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
            }
        )
        if cached_tokens is not UNSET:
            field_dict["cached_tokens"] = cached_tokens
        if training_seconds is not UNSET:
            field_dict["training_seconds"] = training_seconds
        if min_replicas is not UNSET:
            field_dict["min_replicas"] = min_replicas
        if max_replicas is not UNSET:
            field_dict["max_replicas"] = max_replicas

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        model = d.pop("model")

        requests = d.pop("requests")

        prompt_tokens = d.pop("prompt_tokens")

        completion_tokens = d.pop("completion_tokens")

        cached_tokens = d.pop("cached_tokens", UNSET)

        training_seconds = d.pop("training_seconds", UNSET)

        min_replicas = d.pop("min_replicas", UNSET)

        max_replicas = d.pop("max_replicas", UNSET)

        estimate_body_request = cls(
            model=model,
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=cached_tokens,
            training_seconds=training_seconds,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
        )

        return estimate_body_request
