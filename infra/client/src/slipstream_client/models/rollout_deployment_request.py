from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.speculation_mode_enum import SpeculationModeEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="RolloutDeploymentRequest")


@_attrs_define
class RolloutDeploymentRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        speculation_mode (SpeculationModeEnum | Unset): * `off` - off
            * `static` - static
            * `adaptive` - adaptive
        max_lookahead (int | Unset):
        holdout_rate (float | Unset):
        speculator_version_id (None | str | Unset): This version; null: whichever is promoted.
    """

    speculation_mode: SpeculationModeEnum | Unset = UNSET
    max_lookahead: int | Unset = UNSET
    holdout_rate: float | Unset = UNSET
    speculator_version_id: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        speculation_mode: str | Unset = UNSET
        if not isinstance(self.speculation_mode, Unset):
            speculation_mode = self.speculation_mode.value

        max_lookahead = self.max_lookahead

        holdout_rate = self.holdout_rate

        speculator_version_id: None | str | Unset
        if isinstance(self.speculator_version_id, Unset):
            speculator_version_id = UNSET
        else:
            speculator_version_id = self.speculator_version_id

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if speculation_mode is not UNSET:
            field_dict["speculation_mode"] = speculation_mode
        if max_lookahead is not UNSET:
            field_dict["max_lookahead"] = max_lookahead
        if holdout_rate is not UNSET:
            field_dict["holdout_rate"] = holdout_rate
        if speculator_version_id is not UNSET:
            field_dict["speculator_version_id"] = speculator_version_id

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

        def _parse_speculator_version_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        speculator_version_id = _parse_speculator_version_id(d.pop("speculator_version_id", UNSET))

        rollout_deployment_request = cls(
            speculation_mode=speculation_mode,
            max_lookahead=max_lookahead,
            holdout_rate=holdout_rate,
            speculator_version_id=speculator_version_id,
        )

        return rollout_deployment_request
