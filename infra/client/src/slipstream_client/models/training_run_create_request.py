from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="TrainingRunCreateRequest")


@_attrs_define
class TrainingRunCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        speculator_id (str):
    """

    speculator_id: str

    def to_dict(self) -> dict[str, Any]:
        speculator_id = self.speculator_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "speculator_id": speculator_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        speculator_id = d.pop("speculator_id")

        training_run_create_request = cls(
            speculator_id=speculator_id,
        )

        return training_run_create_request
