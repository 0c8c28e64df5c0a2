from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.promotion_enum import PromotionEnum
from ..models.promotion_strategy_enum import PromotionStrategyEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="SpeculatorPolicyBodyRequest")


@_attrs_define
class SpeculatorPolicyBodyRequest:
    """The whole policy: what is left out becomes the default.

    Attributes:
        promotion (PromotionEnum | Unset): * `auto` - auto
            * `manual` - manual Default: PromotionEnum.AUTO.
        strategy (PromotionStrategyEnum | Unset): * `immediate` - immediate
            * `canary` - canary Default: PromotionStrategyEnum.IMMEDIATE.
        min_gain (float | None | Unset): Share of target forwards that a candidate must save.
        confidence (float | None | Unset): One-sided confidence of that statement.
        min_heldout_records (int | None | Unset): So many requests are held out and replayed at least.
        max_drop (float | None | Unset): Share of the evaluated acceptance length that may be lost in service before it
            is rolled back.
        every_hours (int | None | Unset): Train by the clock, if anything is new; null: by new traffic alone.
    """

    promotion: PromotionEnum | Unset = PromotionEnum.AUTO
    strategy: PromotionStrategyEnum | Unset = PromotionStrategyEnum.IMMEDIATE
    min_gain: float | None | Unset = UNSET
    confidence: float | None | Unset = UNSET
    min_heldout_records: int | None | Unset = UNSET
    max_drop: float | None | Unset = UNSET
    every_hours: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        promotion: str | Unset = UNSET
        if not isinstance(self.promotion, Unset):
            promotion = self.promotion.value

        strategy: str | Unset = UNSET
        if not isinstance(self.strategy, Unset):
            strategy = self.strategy.value

        min_gain: float | None | Unset
        if isinstance(self.min_gain, Unset):
            min_gain = UNSET
        else:
            min_gain = self.min_gain

        confidence: float | None | Unset
        if isinstance(self.confidence, Unset):
            confidence = UNSET
        else:
            confidence = self.confidence

        min_heldout_records: int | None | Unset
        if isinstance(self.min_heldout_records, Unset):
            min_heldout_records = UNSET
        else:
            min_heldout_records = self.min_heldout_records

        max_drop: float | None | Unset
        if isinstance(self.max_drop, Unset):
            max_drop = UNSET
        else:
            max_drop = self.max_drop

        every_hours: int | None | Unset
        if isinstance(self.every_hours, Unset):
            every_hours = UNSET
        else:
            every_hours = self.every_hours

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if promotion is not UNSET:
            field_dict["promotion"] = promotion
        if strategy is not UNSET:
            field_dict["strategy"] = strategy
        if min_gain is not UNSET:
            field_dict["min_gain"] = min_gain
        if confidence is not UNSET:
            field_dict["confidence"] = confidence
        if min_heldout_records is not UNSET:
            field_dict["min_heldout_records"] = min_heldout_records
        if max_drop is not UNSET:
            field_dict["max_drop"] = max_drop
        if every_hours is not UNSET:
            field_dict["every_hours"] = every_hours

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        _promotion = d.pop("promotion", UNSET)
        promotion: PromotionEnum | Unset
        if isinstance(_promotion, Unset):
            promotion = UNSET
        else:
            promotion = PromotionEnum(_promotion)

        _strategy = d.pop("strategy", UNSET)
        strategy: PromotionStrategyEnum | Unset
        if isinstance(_strategy, Unset):
            strategy = UNSET
        else:
            strategy = PromotionStrategyEnum(_strategy)

        def _parse_min_gain(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        min_gain = _parse_min_gain(d.pop("min_gain", UNSET))

        def _parse_confidence(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        confidence = _parse_confidence(d.pop("confidence", UNSET))

        def _parse_min_heldout_records(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        min_heldout_records = _parse_min_heldout_records(d.pop("min_heldout_records", UNSET))

        def _parse_max_drop(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        max_drop = _parse_max_drop(d.pop("max_drop", UNSET))

        def _parse_every_hours(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        every_hours = _parse_every_hours(d.pop("every_hours", UNSET))

        speculator_policy_body_request = cls(
            promotion=promotion,
            strategy=strategy,
            min_gain=min_gain,
            confidence=confidence,
            min_heldout_records=min_heldout_records,
            max_drop=max_drop,
            every_hours=every_hours,
        )

        return speculator_policy_body_request
