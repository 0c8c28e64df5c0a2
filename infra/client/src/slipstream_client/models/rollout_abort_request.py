from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="RolloutAbortRequest")


@_attrs_define
class RolloutAbortRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        reason (str | Unset):  Default: 'Aborted on request.'.
    """

    reason: str | Unset = "Aborted on request."

    def to_dict(self) -> dict[str, Any]:
        reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if reason is not UNSET:
            field_dict["reason"] = reason

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        reason = d.pop("reason", UNSET)

        rollout_abort_request = cls(
            reason=reason,
        )

        return rollout_abort_request
