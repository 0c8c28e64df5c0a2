from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.memory_scope_enum import MemoryScopeEnum
from ..models.redaction_enum import RedactionEnum
from ..models.stream_coalescing_enum import StreamCoalescingEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="TrafficPolicyBodyRequest")


@_attrs_define
class TrafficPolicyBodyRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        capture (bool): Consent: may requests be kept for training?
        sample_rate (float | Unset):  Default: 1.0.
        retention_days (int | Unset):  Default: 30.
        redaction (RedactionEnum | Unset): * `off` - off
            * `drop` - drop
            * `mask` - mask Default: RedactionEnum.DROP.
        memory_scope (MemoryScopeEnum | Unset): * `project` - project
            * `end_user` - end_user Default: MemoryScopeEnum.PROJECT.
        stream_coalescing (StreamCoalescingEnum | Unset): * `none` - none
            * `tokens` - tokens
            * `interval` - interval Default: StreamCoalescingEnum.NONE.
        coalesce_tokens (int | Unset):  Default: 16.
        coalesce_milliseconds (int | Unset):  Default: 100.
    """

    capture: bool
    sample_rate: float | Unset = 1.0
    retention_days: int | Unset = 30
    redaction: RedactionEnum | Unset = RedactionEnum.DROP
    memory_scope: MemoryScopeEnum | Unset = MemoryScopeEnum.PROJECT
    stream_coalescing: StreamCoalescingEnum | Unset = StreamCoalescingEnum.NONE
    coalesce_tokens: int | Unset = 16
    coalesce_milliseconds: int | Unset = 100

    def to_dict(self) -> dict[str, Any]:
        capture = self.capture

        sample_rate = self.sample_rate

        retention_days = self.retention_days

        redaction: str | Unset = UNSET
        if not isinstance(self.redaction, Unset):
            redaction = self.redaction.value

        memory_scope: str | Unset = UNSET
        if not isinstance(self.memory_scope, Unset):
            memory_scope = self.memory_scope.value

        stream_coalescing: str | Unset = UNSET
        if not isinstance(self.stream_coalescing, Unset):
            stream_coalescing = self.stream_coalescing.value

        coalesce_tokens = self.coalesce_tokens

        coalesce_milliseconds = self.coalesce_milliseconds

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "capture": capture,
            }
        )
        if sample_rate is not UNSET:
            field_dict["sample_rate"] = sample_rate
        if retention_days is not UNSET:
            field_dict["retention_days"] = retention_days
        if redaction is not UNSET:
            field_dict["redaction"] = redaction
        if memory_scope is not UNSET:
            field_dict["memory_scope"] = memory_scope
        if stream_coalescing is not UNSET:
            field_dict["stream_coalescing"] = stream_coalescing
        if coalesce_tokens is not UNSET:
            field_dict["coalesce_tokens"] = coalesce_tokens
        if coalesce_milliseconds is not UNSET:
            field_dict["coalesce_milliseconds"] = coalesce_milliseconds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        capture = d.pop("capture")

        sample_rate = d.pop("sample_rate", UNSET)

        retention_days = d.pop("retention_days", UNSET)

        _redaction = d.pop("redaction", UNSET)
        redaction: RedactionEnum | Unset
        if isinstance(_redaction, Unset):
            redaction = UNSET
        else:
            redaction = RedactionEnum(_redaction)

        _memory_scope = d.pop("memory_scope", UNSET)
        memory_scope: MemoryScopeEnum | Unset
        if isinstance(_memory_scope, Unset):
            memory_scope = UNSET
        else:
            memory_scope = MemoryScopeEnum(_memory_scope)

        _stream_coalescing = d.pop("stream_coalescing", UNSET)
        stream_coalescing: StreamCoalescingEnum | Unset
        if isinstance(_stream_coalescing, Unset):
            stream_coalescing = UNSET
        else:
            stream_coalescing = StreamCoalescingEnum(_stream_coalescing)

        coalesce_tokens = d.pop("coalesce_tokens", UNSET)

        coalesce_milliseconds = d.pop("coalesce_milliseconds", UNSET)

        traffic_policy_body_request = cls(
            capture=capture,
            sample_rate=sample_rate,
            retention_days=retention_days,
            redaction=redaction,
            memory_scope=memory_scope,
            stream_coalescing=stream_coalescing,
            coalesce_tokens=coalesce_tokens,
            coalesce_milliseconds=coalesce_milliseconds,
        )

        return traffic_policy_body_request
