from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.speculator_policy import SpeculatorPolicy


T = TypeVar("T", bound="Speculator")


@_attrs_define
class Speculator:
    """
    Attributes:
        id (str):
        organization_id (str):
        project_id (str):
        model (str):
        frozen (bool):
        policy (SpeculatorPolicy): How the speculator adapts. Null: the service's default.
        active_version_id (None | str):
        created_at (datetime.datetime):
    """

    id: str
    organization_id: str
    project_id: str
    model: str
    frozen: bool
    policy: SpeculatorPolicy
    active_version_id: None | str
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        project_id = self.project_id

        model = self.model

        frozen = self.frozen

        policy = self.policy.to_dict()

        active_version_id: None | str
        active_version_id = self.active_version_id

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "project_id": project_id,
                "model": model,
                "frozen": frozen,
                "policy": policy,
                "active_version_id": active_version_id,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.speculator_policy import SpeculatorPolicy  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        project_id = d.pop("project_id")

        model = d.pop("model")

        frozen = d.pop("frozen")

        policy = SpeculatorPolicy.from_dict(d.pop("policy"))

        def _parse_active_version_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        active_version_id = _parse_active_version_id(d.pop("active_version_id"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        speculator = cls(
            id=id,
            organization_id=organization_id,
            project_id=project_id,
            model=model,
            frozen=frozen,
            policy=policy,
            active_version_id=active_version_id,
            created_at=created_at,
        )

        speculator.additional_properties = d
        return speculator

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
