from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.token_kind_enum import TokenKindEnum

T = TypeVar("T", bound="StatementLine")


@_attrs_define
class StatementLine:
    """
    Attributes:
        model (str):
        kind (TokenKindEnum): * `prompt` - prompt
            * `cached` - cached
            * `completion` - completion
        quantity (int): Tokens.
        unit_price (int): Micro-dollars per million tokens.
        amount_pico (str): quantity x unit_price: pico-dollars, exactly.
        amount (str): Dollars, rounded half up to cents.
        amount_cents (int):
        price_id (None | str): null: no price was in effect.
    """

    model: str
    kind: TokenKindEnum
    quantity: int
    unit_price: int
    amount_pico: str
    amount: str
    amount_cents: int
    price_id: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        kind = self.kind.value

        quantity = self.quantity

        unit_price = self.unit_price

        amount_pico = self.amount_pico

        amount = self.amount

        amount_cents = self.amount_cents

        price_id: None | str
        price_id = self.price_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "model": model,
                "kind": kind,
                "quantity": quantity,
                "unit_price": unit_price,
                "amount_pico": amount_pico,
                "amount": amount,
                "amount_cents": amount_cents,
                "price_id": price_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        model = d.pop("model")

        kind = TokenKindEnum(d.pop("kind"))

        quantity = d.pop("quantity")

        unit_price = d.pop("unit_price")

        amount_pico = d.pop("amount_pico")

        amount = d.pop("amount")

        amount_cents = d.pop("amount_cents")

        def _parse_price_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        price_id = _parse_price_id(d.pop("price_id"))

        statement_line = cls(
            model=model,
            kind=kind,
            quantity=quantity,
            unit_price=unit_price,
            amount_pico=amount_pico,
            amount=amount,
            amount_cents=amount_cents,
            price_id=price_id,
        )

        statement_line.additional_properties = d
        return statement_line

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
