from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.memory_scope_enum import MemoryScopeEnum
from ..models.redaction_enum import RedactionEnum
from ..models.stream_coalescing_enum import StreamCoalescingEnum

T = TypeVar("T", bound="TrafficPolicy")


@_attrs_define
class TrafficPolicy:
    """
    Attributes:
        project_id (str):
        capture (bool):
        sample_rate (float):
        retention_days (int):
        redaction (RedactionEnum): * `off` - off
            * `drop` - drop
            * `mask` - mask
        memory_scope (MemoryScopeEnum): * `project` - project
            * `end_user` - end_user
        stream_coalescing (StreamCoalescingEnum): * `none` - none
            * `tokens` - tokens
            * `interval` - interval
        coalesce_tokens (int):
        coalesce_milliseconds (int):
        erased_before (datetime.datetime | None):
        updated_at (datetime.datetime | None):
    """

    project_id: str
    capture: bool
    sample_rate: float
    retention_days: int
    redaction: RedactionEnum
    memory_scope: MemoryScopeEnum
    stream_coalescing: StreamCoalescingEnum
    coalesce_tokens: int
    coalesce_milliseconds: int
    erased_before: datetime.datetime | None
    updated_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        project_id = self.project_id

        capture = self.capture

        sample_rate = self.sample_rate

        retention_days = self.retention_days

        redaction = self.redaction.value

        memory_scope = self.memory_scope.value

        stream_coalescing = self.stream_coalescing.value

        coalesce_tokens = self.coalesce_tokens

        coalesce_milliseconds = self.coalesce_milliseconds

        erased_before: None | str
        if isinstance(self.erased_before, datetime.datetime):
            erased_before = self.erased_before.isoformat()
        else:
            erased_before = self.erased_before

        updated_at: None | str
        if isinstance(self.updated_at, datetime.datetime):
            updated_at = self.updated_at.isoformat()
        else:
            updated_at = self.updated_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "project_id": project_id,
                "capture": capture,
                "sample_rate": sample_rate,
                "retention_days": retention_days,
                "redaction": redaction,
                "memory_scope": memory_scope,
                "stream_coalescing": stream_coalescing,
                "coalesce_tokens": coalesce_tokens,
                "coalesce_milliseconds": coalesce_milliseconds,
                "erased_before": erased_before,
                "updated_at": updated_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        project_id = d.pop("project_id")

        capture = d.pop("capture")

        sample_rate = d.pop("sample_rate")

        retention_days = d.pop("retention_days")

        redaction = RedactionEnum(d.pop("redaction"))

        memory_scope = MemoryScopeEnum(d.pop("memory_scope"))

        stream_coalescing = StreamCoalescingEnum(d.pop("stream_coalescing"))

        coalesce_tokens = d.pop("coalesce_tokens")

        coalesce_milliseconds = d.pop("coalesce_milliseconds")

        def _parse_erased_before(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                erased_before_type_0 = datetime.datetime.fromisoformat(data)

                return erased_before_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        erased_before = _parse_erased_before(d.pop("erased_before"))

        def _parse_updated_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                updated_at_type_0 = datetime.datetime.fromisoformat(data)

                return updated_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        updated_at = _parse_updated_at(d.pop("updated_at"))

        traffic_policy = cls(
            project_id=project_id,
            capture=capture,
            sample_rate=sample_rate,
            retention_days=retention_days,
            redaction=redaction,
            memory_scope=memory_scope,
            stream_coalescing=stream_coalescing,
            coalesce_tokens=coalesce_tokens,
            coalesce_milliseconds=coalesce_milliseconds,
            erased_before=erased_before,
            updated_at=updated_at,
        )

        traffic_policy.additional_properties = d
        return traffic_policy

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
