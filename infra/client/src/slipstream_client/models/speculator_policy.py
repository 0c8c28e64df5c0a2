from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.promotion_enum import PromotionEnum
from ..models.promotion_strategy_enum import PromotionStrategyEnum

T = TypeVar("T", bound="SpeculatorPolicy")


@_attrs_define
class SpeculatorPolicy:
    """How the speculator adapts. Null: the service's default.

    Attributes:
        promotion (PromotionEnum): * `auto` - auto
            * `manual` - manual
        strategy (PromotionStrategyEnum): * `immediate` - immediate
            * `canary` - canary
        min_gain (float | None):
        confidence (float | None):
        min_heldout_records (int | None):
        max_drop (float | None):
        every_hours (int | None):
    """

    promotion: PromotionEnum
    strategy: PromotionStrategyEnum
    min_gain: float | None
    confidence: float | None
    min_heldout_records: int | None
    max_drop: float | None
    every_hours: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        promotion = self.promotion.value

        strategy = self.strategy.value

        min_gain: float | None
        min_gain = self.min_gain

        confidence: float | None
        confidence = self.confidence

        min_heldout_records: int | None
        min_heldout_records = self.min_heldout_records

        max_drop: float | None
        max_drop = self.max_drop

        every_hours: int | None
        every_hours = self.every_hours

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "promotion": promotion,
                "strategy": strategy,
                "min_gain": min_gain,
                "confidence": confidence,
                "min_heldout_records": min_heldout_records,
                "max_drop": max_drop,
                "every_hours": every_hours,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        promotion = PromotionEnum(d.pop("promotion"))

        strategy = PromotionStrategyEnum(d.pop("strategy"))

        def _parse_min_gain(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        min_gain = _parse_min_gain(d.pop("min_gain"))

        def _parse_confidence(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        confidence = _parse_confidence(d.pop("confidence"))

        def _parse_min_heldout_records(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        min_heldout_records = _parse_min_heldout_records(d.pop("min_heldout_records"))

        def _parse_max_drop(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        max_drop = _parse_max_drop(d.pop("max_drop"))

        def _parse_every_hours(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        every_hours = _parse_every_hours(d.pop("every_hours"))

        speculator_policy = cls(
            promotion=promotion,
            strategy=strategy,
            min_gain=min_gain,
            confidence=confidence,
            min_heldout_records=min_heldout_records,
            max_drop=max_drop,
            every_hours=every_hours,
        )

        speculator_policy.additional_properties = d
        return speculator_policy

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
