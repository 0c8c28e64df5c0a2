from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.availability import Availability
    from ..models.estimate_line import EstimateLine
    from ..models.model_price import ModelPrice


T = TypeVar("T", bound="Estimate")


@_attrs_define
class Estimate:
    """
    Attributes:
        model (str):
        price (ModelPrice | None):
        lines (list[EstimateLine]):
        training_pico_dollars (int):
        total_pico_dollars (int): Exact, with training.
        total_cents (int): Sum of the lines' cents, as a statement would say.
        assumptions (list[str]):
        availability (Availability):
    """

    model: str
    price: ModelPrice | None
    lines: list[EstimateLine]
    training_pico_dollars: int
    total_pico_dollars: int
    total_cents: int
    assumptions: list[str]
    availability: Availability
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.model_price import ModelPrice  # noqa: PLC0415

        model = self.model

        price: dict[str, Any] | None
        if isinstance(self.price, ModelPrice):
            price = self.price.to_dict()
        else:
            price = self.price

        lines = []
        for lines_item_data in self.lines:
            lines_item = lines_item_data.to_dict()
            lines.append(lines_item)

        training_pico_dollars = self.training_pico_dollars

        total_pico_dollars = self.total_pico_dollars

        total_cents = self.total_cents

        assumptions = self.assumptions

        availability = self.availability.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "model": model,
                "price": price,
                "lines": lines,
                "training_pico_dollars": training_pico_dollars,
                "total_pico_dollars": total_pico_dollars,
                "total_cents": total_cents,
                "assumptions": assumptions,
                "availability": availability,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.availability import Availability  # noqa: PLC0415
        from ..models.estimate_line import EstimateLine  # noqa: PLC0415
        from ..models.model_price import ModelPrice  # noqa: PLC0415

        d = dict(src_dict)
        model = d.pop("model")

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

        lines = []
        _lines = d.pop("lines")
        for lines_item_data in _lines:
            lines_item = EstimateLine.from_dict(lines_item_data)

            lines.append(lines_item)

        training_pico_dollars = d.pop("training_pico_dollars")

        total_pico_dollars = d.pop("total_pico_dollars")

        total_cents = d.pop("total_cents")

        assumptions = cast(list[str], d.pop("assumptions"))

        availability = Availability.from_dict(d.pop("availability"))

        estimate = cls(
            model=model,
            price=price,
            lines=lines,
            training_pico_dollars=training_pico_dollars,
            total_pico_dollars=total_pico_dollars,
            total_cents=total_cents,
            assumptions=assumptions,
            availability=availability,
        )

        estimate.additional_properties = d
        return estimate

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
