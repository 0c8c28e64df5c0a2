from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="TrafficPolicyBodyRequest")


@_attrs_define
class TrafficPolicyBodyRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        capture (bool): Consent: may requests be kept for training?
        sample_rate (float | Unset):  Default: 1.0.
        retention_days (int | Unset):  Default: 30.
    """

    capture: bool
    sample_rate: float | Unset = 1.0
    retention_days: int | Unset = 30

    def to_dict(self) -> dict[str, Any]:
        capture = self.capture

        sample_rate = self.sample_rate

        retention_days = self.retention_days

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

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        capture = d.pop("capture")

        sample_rate = d.pop("sample_rate", UNSET)

        retention_days = d.pop("retention_days", UNSET)

        traffic_policy_body_request = cls(
            capture=capture,
            sample_rate=sample_rate,
            retention_days=retention_days,
        )

        return traffic_policy_body_request
