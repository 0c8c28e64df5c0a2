from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="UsageRow")


@_attrs_define
class UsageRow:
    """Sums of a group; the names of the groups asked for are fields too.

    Attributes:
        requests (int):
        prompt_tokens (int):
        cached_tokens (int):
        completion_tokens (int):
        steps (int):
        drafted (int):
        accepted (int):
        day (datetime.date | Unset):
        key_id (str | Unset):
        endpoint_id (str | Unset):
        model (str | Unset):
        project_id (str | Unset):
        status (str | Unset):
    """

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    steps: int
    drafted: int
    accepted: int
    day: datetime.date | Unset = UNSET
    key_id: str | Unset = UNSET
    endpoint_id: str | Unset = UNSET
    model: str | Unset = UNSET
    project_id: str | Unset = UNSET
    status: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        requests = self.requests

        prompt_tokens = self.prompt_tokens

        cached_tokens = self.cached_tokens

        completion_tokens = self.completion_tokens

        steps = self.steps

        drafted = self.drafted

        accepted = self.accepted

        day: str | Unset = UNSET
        if not isinstance(self.day, Unset):
            day = self.day.isoformat()

        key_id = self.key_id

        endpoint_id = self.endpoint_id

        model = self.model

        project_id = self.project_id

        status = self.status

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "requests": requests,
                "prompt_tokens": prompt_tokens,
                "cached_tokens": cached_tokens,
                "completion_tokens": completion_tokens,
                "steps": steps,
                "drafted": drafted,
                "accepted": accepted,
            }
        )
        if day is not UNSET:
            field_dict["day"] = day
        if key_id is not UNSET:
            field_dict["key_id"] = key_id
        if endpoint_id is not UNSET:
            field_dict["endpoint_id"] = endpoint_id
        if model is not UNSET:
            field_dict["model"] = model
        if project_id is not UNSET:
            field_dict["project_id"] = project_id
        if status is not UNSET:
            field_dict["status"] = status

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        requests = d.pop("requests")

        prompt_tokens = d.pop("prompt_tokens")

        cached_tokens = d.pop("cached_tokens")

        completion_tokens = d.pop("completion_tokens")

        steps = d.pop("steps")

        drafted = d.pop("drafted")

        accepted = d.pop("accepted")

        _day = d.pop("day", UNSET)
        day: datetime.date | Unset
        if isinstance(_day, Unset):
            day = UNSET
        else:
            day = datetime.date.fromisoformat(_day)

        key_id = d.pop("key_id", UNSET)

        endpoint_id = d.pop("endpoint_id", UNSET)

        model = d.pop("model", UNSET)

        project_id = d.pop("project_id", UNSET)

        status = d.pop("status", UNSET)

        usage_row = cls(
            requests=requests,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
            completion_tokens=completion_tokens,
            steps=steps,
            drafted=drafted,
            accepted=accepted,
            day=day,
            key_id=key_id,
            endpoint_id=endpoint_id,
            model=model,
            project_id=project_id,
            status=status,
        )

        usage_row.additional_properties = d
        return usage_row

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
