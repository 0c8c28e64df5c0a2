from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rollout_plan_body_request import RolloutPlanBodyRequest


T = TypeVar("T", bound="PromoteBodyRequest")


@_attrs_define
class PromoteBodyRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        rollout (RolloutPlanBodyRequest | Unset): How a change reaches the requests. What is not given is the strategy's
            default.
    """

    rollout: RolloutPlanBodyRequest | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        rollout: dict[str, Any] | Unset = UNSET
        if not isinstance(self.rollout, Unset):
            rollout = self.rollout.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if rollout is not UNSET:
            field_dict["rollout"] = rollout

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rollout_plan_body_request import RolloutPlanBodyRequest  # noqa: PLC0415

        d = dict(src_dict)
        _rollout = d.pop("rollout", UNSET)
        rollout: RolloutPlanBodyRequest | Unset
        if isinstance(_rollout, Unset):
            rollout = UNSET
        else:
            rollout = RolloutPlanBodyRequest.from_dict(_rollout)

        promote_body_request = cls(
            rollout=rollout,
        )

        return promote_body_request
