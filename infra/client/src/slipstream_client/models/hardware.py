from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.availability import Availability


T = TypeVar("T", bound="Hardware")


@_attrs_define
class Hardware:
    """
    Attributes:
        id (str):
        engines (list[str]):
        models (list[str]): Models that are served on it.
        availability (Availability):
    """

    id: str
    engines: list[str]
    models: list[str]
    availability: Availability
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        engines = self.engines

        models = self.models

        availability = self.availability.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "engines": engines,
                "models": models,
                "availability": availability,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.availability import Availability  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        engines = cast(list[str], d.pop("engines"))

        models = cast(list[str], d.pop("models"))

        availability = Availability.from_dict(d.pop("availability"))

        hardware = cls(
            id=id,
            engines=engines,
            models=models,
            availability=availability,
        )

        hardware.additional_properties = d
        return hardware

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
