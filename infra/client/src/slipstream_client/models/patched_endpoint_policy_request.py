from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.speculation_mode_enum import SpeculationModeEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="PatchedEndpointPolicyRequest")


@_attrs_define
class PatchedEndpointPolicyRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        speculation_mode (SpeculationModeEnum | Unset): * `off` - off
            * `static` - static
            * `adaptive` - adaptive
        max_lookahead (int | Unset):
        holdout_rate (float | Unset):
    """

    speculation_mode: SpeculationModeEnum | Unset = UNSET
    max_lookahead: int | Unset = UNSET
    holdout_rate: float | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        speculation_mode: str | Unset = UNSET
        if not isinstance(self.speculation_mode, Unset):
            speculation_mode = self.speculation_mode.value

        max_lookahead = self.max_lookahead

        holdout_rate = self.holdout_rate

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if speculation_mode is not UNSET:
            field_dict["speculation_mode"] = speculation_mode
        if max_lookahead is not UNSET:
            field_dict["max_lookahead"] = max_lookahead
        if holdout_rate is not UNSET:
            field_dict["holdout_rate"] = holdout_rate

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        _speculation_mode = d.pop("speculation_mode", UNSET)
        speculation_mode: SpeculationModeEnum | Unset
        if isinstance(_speculation_mode, Unset):
            speculation_mode = UNSET
        else:
            speculation_mode = SpeculationModeEnum(_speculation_mode)

        max_lookahead = d.pop("max_lookahead", UNSET)

        holdout_rate = d.pop("holdout_rate", UNSET)

        patched_endpoint_policy_request = cls(
            speculation_mode=speculation_mode,
            max_lookahead=max_lookahead,
            holdout_rate=holdout_rate,
        )

        return patched_endpoint_policy_request
