from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.speculation_mode_enum import SpeculationModeEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="EndpointCreateRequest")


@_attrs_define
class EndpointCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        project_id (str):
        name (str): What clients send as `model`.
        model (str): Id of a model of the catalogue.
        speculation_mode (SpeculationModeEnum | Unset): * `off` - off
            * `static` - static
            * `adaptive` - adaptive
        max_lookahead (int | Unset):
        holdout_rate (float | Unset):
        min_replicas (int | Unset): Ready nodes below which it is `degraded`.
        max_replicas (int | Unset): Nodes that it is placed on under load, if there are as many: see `desired_replicas`.
    """

    project_id: str
    name: str
    model: str
    speculation_mode: SpeculationModeEnum | Unset = UNSET
    max_lookahead: int | Unset = UNSET
    holdout_rate: float | Unset = UNSET
    min_replicas: int | Unset = UNSET
    max_replicas: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        project_id = self.project_id

        name = self.name

        model = self.model

        speculation_mode: str | Unset = UNSET
        if not isinstance(self.speculation_mode, Unset):
            speculation_mode = self.speculation_mode.value

        max_lookahead = self.max_lookahead

        holdout_rate = self.holdout_rate

        min_replicas = self.min_replicas

        max_replicas = self.max_replicas

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "project_id": project_id,
                "name": name,
                "model": model,
            }
        )
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

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        project_id = d.pop("project_id")

        name = d.pop("name")

        model = d.pop("model")

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

        endpoint_create_request = cls(
            project_id=project_id,
            name=name,
            model=model,
            speculation_mode=speculation_mode,
            max_lookahead=max_lookahead,
            holdout_rate=holdout_rate,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
        )

        return endpoint_create_request
