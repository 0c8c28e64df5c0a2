from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Project")


@_attrs_define
class Project:
    """
    Attributes:
        id (str):
        organization_id (str):
        name (str):
        requests_per_minute (int | None):
        tokens_per_minute (int | None):
        max_concurrent_requests (int | None):
        created_at (datetime.datetime):
    """

    id: str
    organization_id: str
    name: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent_requests: int | None
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        name = self.name

        requests_per_minute: int | None
        requests_per_minute = self.requests_per_minute

        tokens_per_minute: int | None
        tokens_per_minute = self.tokens_per_minute

        max_concurrent_requests: int | None
        max_concurrent_requests = self.max_concurrent_requests

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "name": name,
                "requests_per_minute": requests_per_minute,
                "tokens_per_minute": tokens_per_minute,
                "max_concurrent_requests": max_concurrent_requests,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        name = d.pop("name")

        def _parse_requests_per_minute(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        requests_per_minute = _parse_requests_per_minute(d.pop("requests_per_minute"))

        def _parse_tokens_per_minute(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        tokens_per_minute = _parse_tokens_per_minute(d.pop("tokens_per_minute"))

        def _parse_max_concurrent_requests(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        max_concurrent_requests = _parse_max_concurrent_requests(d.pop("max_concurrent_requests"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        project = cls(
            id=id,
            organization_id=organization_id,
            name=name,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            max_concurrent_requests=max_concurrent_requests,
            created_at=created_at,
        )

        project.additional_properties = d
        return project

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
