from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..models.speculation_mode_enum import SpeculationModeEnum
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rollout_plan_body_request import RolloutPlanBodyRequest


T = TypeVar("T", bound="PatchedEndpointUpdateRequest")


@_attrs_define
class PatchedEndpointUpdateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        speculation_mode (SpeculationModeEnum | Unset): * `off` - off
            * `static` - static
            * `adaptive` - adaptive
        max_lookahead (int | Unset):
        holdout_rate (float | Unset):
        min_replicas (int | Unset): Ready nodes below which it is `degraded`.
        max_replicas (int | Unset): Nodes that it is placed on under load, if there are as many: see `desired_replicas`.
        rollout (RolloutPlanBodyRequest | Unset): How a change reaches the requests. What is not given is the strategy's
            default.
    """

    speculation_mode: SpeculationModeEnum | Unset = UNSET
    max_lookahead: int | Unset = UNSET
    holdout_rate: float | Unset = UNSET
    min_replicas: int | Unset = UNSET
    max_replicas: int | Unset = UNSET
    rollout: RolloutPlanBodyRequest | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        speculation_mode: str | Unset = UNSET
        if not isinstance(self.speculation_mode, Unset):
            speculation_mode = self.speculation_mode.value

        max_lookahead = self.max_lookahead

        holdout_rate = self.holdout_rate

        min_replicas = self.min_replicas

        max_replicas = self.max_replicas

        rollout: dict[str, Any] | Unset = UNSET
        if not isinstance(self.rollout, Unset):
            rollout = self.rollout.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if speculation_mode is not UNSET:
            field_dict["speculation_mode"] = speculation_mode
        if max_lookahead is not UNSET:
            field_dict["max_lookahead"] = max_lookahead
        if holdout_rate is not UNSET:
            field_dict["holdout_rate"] = holdout_rate
        if min_replicas is not UNSET:
            field_dict["min_replicas"] = min_replicas
        if max_replicas is not UNSET:
            field_dict["max_replicas"] = max_replicas
        if rollout is not UNSET:
            field_dict["rollout"] = rollout

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rollout_plan_body_request import RolloutPlanBodyRequest  # noqa: PLC0415

        d = dict(src_dict)
        _speculation_mode = d.pop("speculation_mode", UNSET)
        speculation_mode: SpeculationModeEnum | Unset
        if isinstance(_speculation_mode, Unset):
            speculation_mode = UNSET
        else:
            speculation_mode = SpeculationModeEnum(_speculation_mode)

        max_lookahead = d.pop("max_lookahead", UNSET)

        holdout_rate = d.pop("holdout_rate", UNSET)

        min_replicas = d.pop("min_replicas", UNSET)

        max_replicas = d.pop("max_replicas", UNSET)

        _rollout = d.pop("rollout", UNSET)
        rollout: RolloutPlanBodyRequest | Unset
        if isinstance(_rollout, Unset):
            rollout = UNSET
        else:
            rollout = RolloutPlanBodyRequest.from_dict(_rollout)

        patched_endpoint_update_request = cls(
            speculation_mode=speculation_mode,
            max_lookahead=max_lookahead,
            holdout_rate=holdout_rate,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            rollout=rollout,
        )

        return patched_endpoint_update_request
