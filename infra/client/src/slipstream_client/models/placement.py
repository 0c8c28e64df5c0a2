from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Placement")


@_attrs_define
class Placement:
    """
    Attributes:
        id (int):
        project_id (str):
        organization_id (str):
        generation (int): A node that has applied it serves the project.
        placed_at (datetime.datetime):
        leaving_since (datetime.datetime | None): Routes don't name the node for this project any more.
        is_resident (bool): Whether the project's own speculator version may be loaded.
        last_used_at (datetime.datetime | None):
    """

    id: int
    project_id: str
    organization_id: str
    generation: int
    placed_at: datetime.datetime
    leaving_since: datetime.datetime | None
    is_resident: bool
    last_used_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        project_id = self.project_id

        organization_id = self.organization_id

        generation = self.generation

        placed_at = self.placed_at.isoformat()

        leaving_since: None | str
        if isinstance(self.leaving_since, datetime.datetime):
            leaving_since = self.leaving_since.isoformat()
        else:
            leaving_since = self.leaving_since

        is_resident = self.is_resident

        last_used_at: None | str
        if isinstance(self.last_used_at, datetime.datetime):
            last_used_at = self.last_used_at.isoformat()
        else:
            last_used_at = self.last_used_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "project_id": project_id,
                "organization_id": organization_id,
                "generation": generation,
                "placed_at": placed_at,
                "leaving_since": leaving_since,
                "is_resident": is_resident,
                "last_used_at": last_used_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        project_id = d.pop("project_id")

        organization_id = d.pop("organization_id")

        generation = d.pop("generation")

        placed_at = datetime.datetime.fromisoformat(d.pop("placed_at"))

        def _parse_leaving_since(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                leaving_since_type_0 = datetime.datetime.fromisoformat(data)

                return leaving_since_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        leaving_since = _parse_leaving_since(d.pop("leaving_since"))

        is_resident = d.pop("is_resident")

        def _parse_last_used_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_used_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_used_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_used_at = _parse_last_used_at(d.pop("last_used_at"))

        placement = cls(
            id=id,
            project_id=project_id,
            organization_id=organization_id,
            generation=generation,
            placed_at=placed_at,
            leaving_since=leaving_since,
            is_resident=is_resident,
            last_used_at=last_used_at,
        )

        placement.additional_properties = d
        return placement

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
