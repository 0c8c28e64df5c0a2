from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="TokenCreateRequest")


@_attrs_define
class TokenCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        node_name (str | Unset): Only a node of this name; empty: any. Default: ''.
        model (str | Unset): Only a node of this target model; empty: any. Default: ''.
        valid_seconds (int | Unset):  Default: 3600.
    """

    node_name: str | Unset = ""
    model: str | Unset = ""
    valid_seconds: int | Unset = 3600

    def to_dict(self) -> dict[str, Any]:
        node_name = self.node_name

        model = self.model

        valid_seconds = self.valid_seconds

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if node_name is not UNSET:
            field_dict["node_name"] = node_name
        if model is not UNSET:
            field_dict["model"] = model
        if valid_seconds is not UNSET:
            field_dict["valid_seconds"] = valid_seconds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        node_name = d.pop("node_name", UNSET)

        model = d.pop("model", UNSET)

        valid_seconds = d.pop("valid_seconds", UNSET)

        token_create_request = cls(
            node_name=node_name,
            model=model,
            valid_seconds=valid_seconds,
        )

        return token_create_request
