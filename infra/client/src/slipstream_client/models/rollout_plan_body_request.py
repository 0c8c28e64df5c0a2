from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.rollout_strategy_enum import RolloutStrategyEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="RolloutPlanBodyRequest")


@_attrs_define
class RolloutPlanBodyRequest:
    """How a change reaches the requests. What is not given is the strategy's default.

    Attributes:
        strategy (RolloutStrategyEnum): * `immediate` - immediate
            * `rolling` - rolling
            * `canary` - canary
        steps_percent (list[float] | Unset): Shares of the requests: rising, the last one 100.
        observe_seconds (int | Unset):
        min_requests (int | Unset): Of the new deployment, in each step.
    """

    strategy: RolloutStrategyEnum
    steps_percent: list[float] | Unset = UNSET
    observe_seconds: int | Unset = UNSET
    min_requests: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        strategy = self.strategy.value

        steps_percent: list[float] | Unset = UNSET
        if not isinstance(self.steps_percent, Unset):
            steps_percent = self.steps_percent

        observe_seconds = self.observe_seconds

        min_requests = self.min_requests

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "strategy": strategy,
            }
        )
        if steps_percent is not UNSET:
            field_dict["steps_percent"] = steps_percent
        if observe_seconds is not UNSET:
            field_dict["observe_seconds"] = observe_seconds
        if min_requests is not UNSET:
            field_dict["min_requests"] = min_requests

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        strategy = RolloutStrategyEnum(d.pop("strategy"))

        steps_percent = cast(list[float], d.pop("steps_percent", UNSET))

        observe_seconds = d.pop("observe_seconds", UNSET)

        min_requests = d.pop("min_requests", UNSET)

        rollout_plan_body_request = cls(
            strategy=strategy,
            steps_percent=steps_percent,
            observe_seconds=observe_seconds,
            min_requests=min_requests,
        )

        return rollout_plan_body_request
