from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.availability import Availability
    from ..models.model_price import ModelPrice


T = TypeVar("T", bound="Model")


@_attrs_define
class Model:
    """
    Attributes:
        id (str):
        name (str):
        context_length (int):
        parameters (int):
        license_ (str):
        sha256 (str):
        engine (str):
        hardware (str): Id of a row of /hardware.
        availability (Availability):
        price (ModelPrice | None): In force now; null: free until it gets one.
    """

    id: str
    name: str
    context_length: int
    parameters: int
    license_: str
    sha256: str
    engine: str
    hardware: str
    availability: Availability
    price: ModelPrice | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.model_price import ModelPrice  # noqa: PLC0415

        id = self.id

        name = self.name

        context_length = self.context_length

        parameters = self.parameters

        license_ = self.license_

        sha256 = self.sha256

        engine = self.engine

        hardware = self.hardware

        availability = self.availability.to_dict()

        price: dict[str, Any] | None
        if isinstance(self.price, ModelPrice):
            price = self.price.to_dict()
        else:
            price = self.price

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "name": name,
                "context_length": context_length,
                "parameters": parameters,
                "license": license_,
                "sha256": sha256,
                "engine": engine,
                "hardware": hardware,
                "availability": availability,
                "price": price,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.availability import Availability  # noqa: PLC0415
        from ..models.model_price import ModelPrice  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        name = d.pop("name")

        context_length = d.pop("context_length")

        parameters = d.pop("parameters")

        license_ = d.pop("license")

        sha256 = d.pop("sha256")

        engine = d.pop("engine")

        hardware = d.pop("hardware")

        availability = Availability.from_dict(d.pop("availability"))

        def _parse_price(data: object) -> ModelPrice | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                price_type_0 = ModelPrice.from_dict(data)

                return price_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ModelPrice | None, data)

        price = _parse_price(d.pop("price"))

        model = cls(
            id=id,
            name=name,
            context_length=context_length,
            parameters=parameters,
            license_=license_,
            sha256=sha256,
            engine=engine,
            hardware=hardware,
            availability=availability,
            price=price,
        )

        model.additional_properties = d
        return model

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
