from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.speculation_mode_enum import SpeculationModeEnum

T = TypeVar("T", bound="Deployment")


@_attrs_define
class Deployment:
    """
    Attributes:
        id (str):
        organization_id (str):
        project_id (str):
        endpoint_id (str):
        number (int):
        active (bool): Whether the endpoint's policy is this one's.
        weight_percent (float): Its share of the endpoint's requests.
        model (str):
        model_sha256 (str):
        engine (str):
        hardware (str):
        speculation_mode (SpeculationModeEnum): * `off` - off
            * `static` - static
            * `adaptive` - adaptive
        max_lookahead (int):
        holdout_rate (float):
        speculator_version_id (None | str): Null: the promoted version.
        created_at (datetime.datetime):
    """

    id: str
    organization_id: str
    project_id: str
    endpoint_id: str
    number: int
    active: bool
    weight_percent: float
    model: str
    model_sha256: str
    engine: str
    hardware: str
    speculation_mode: SpeculationModeEnum
    max_lookahead: int
    holdout_rate: float
    speculator_version_id: None | str
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        project_id = self.project_id

        endpoint_id = self.endpoint_id

        number = self.number

        active = self.active

        weight_percent = self.weight_percent

        model = self.model

        model_sha256 = self.model_sha256

        engine = self.engine

        hardware = self.hardware

        speculation_mode = self.speculation_mode.value

        max_lookahead = self.max_lookahead

        holdout_rate = self.holdout_rate

        speculator_version_id: None | str
        speculator_version_id = self.speculator_version_id

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "project_id": project_id,
                "endpoint_id": endpoint_id,
                "number": number,
                "active": active,
                "weight_percent": weight_percent,
                "model": model,
                "model_sha256": model_sha256,
                "engine": engine,
                "hardware": hardware,
                "speculation_mode": speculation_mode,
                "max_lookahead": max_lookahead,
                "holdout_rate": holdout_rate,
                "speculator_version_id": speculator_version_id,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        project_id = d.pop("project_id")

        endpoint_id = d.pop("endpoint_id")

        number = d.pop("number")

        active = d.pop("active")

        weight_percent = d.pop("weight_percent")

        model = d.pop("model")

        model_sha256 = d.pop("model_sha256")

        engine = d.pop("engine")

        hardware = d.pop("hardware")

        speculation_mode = SpeculationModeEnum(d.pop("speculation_mode"))

        max_lookahead = d.pop("max_lookahead")

        holdout_rate = d.pop("holdout_rate")

        def _parse_speculator_version_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        speculator_version_id = _parse_speculator_version_id(d.pop("speculator_version_id"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        deployment = cls(
            id=id,
            organization_id=organization_id,
            project_id=project_id,
            endpoint_id=endpoint_id,
            number=number,
            active=active,
            weight_percent=weight_percent,
            model=model,
            model_sha256=model_sha256,
            engine=engine,
            hardware=hardware,
            speculation_mode=speculation_mode,
            max_lookahead=max_lookahead,
            holdout_rate=holdout_rate,
            speculator_version_id=speculator_version_id,
            created_at=created_at,
        )

        deployment.additional_properties = d
        return deployment

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
