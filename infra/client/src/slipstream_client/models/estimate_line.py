from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.token_kind_enum import TokenKindEnum

T = TypeVar("T", bound="EstimateLine")


@_attrs_define
class EstimateLine:
    """
    Attributes:
        kind (TokenKindEnum): * `prompt` - prompt
            * `cached` - cached
            * `completion` - completion
        quantity (int): Tokens.
        unit_price (int): Micro-dollars per million tokens.
        amount_pico_dollars (int): Exact.
        amount_cents (int): Rounded half up, as on a statement.
    """

    kind: TokenKindEnum
    quantity: int
    unit_price: int
    amount_pico_dollars: int
    amount_cents: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind.value

        quantity = self.quantity

        unit_price = self.unit_price

        amount_pico_dollars = self.amount_pico_dollars

        amount_cents = self.amount_cents

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "quantity": quantity,
                "unit_price": unit_price,
                "amount_pico_dollars": amount_pico_dollars,
                "amount_cents": amount_cents,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = TokenKindEnum(d.pop("kind"))

        quantity = d.pop("quantity")

        unit_price = d.pop("unit_price")

        amount_pico_dollars = d.pop("amount_pico_dollars")

        amount_cents = d.pop("amount_cents")

        estimate_line = cls(
            kind=kind,
            quantity=quantity,
            unit_price=unit_price,
            amount_pico_dollars=amount_pico_dollars,
            amount_cents=amount_cents,
        )

        estimate_line.additional_properties = d
        return estimate_line

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
