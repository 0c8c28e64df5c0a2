from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="RolloutEvent")


@_attrs_define
class RolloutEvent:
    """
    Attributes:
        id (int):
        at (datetime.datetime):
        from_state (str):
        to_state (str):
        code (str):
        message (str):
        actor (str):
    """

    id: int
    at: datetime.datetime
    from_state: str
    to_state: str
    code: str
    message: str
    actor: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        at = self.at.isoformat()

        from_state = self.from_state

        to_state = self.to_state

        code = self.code

        message = self.message

        actor = self.actor

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "at": at,
                "from_state": from_state,
                "to_state": to_state,
                "code": code,
                "message": message,
                "actor": actor,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        at = datetime.datetime.fromisoformat(d.pop("at"))

        from_state = d.pop("from_state")

        to_state = d.pop("to_state")

        code = d.pop("code")

        message = d.pop("message")

        actor = d.pop("actor")

        rollout_event = cls(
            id=id,
            at=at,
            from_state=from_state,
            to_state=to_state,
            code=code,
            message=message,
            actor=actor,
        )

        rollout_event.additional_properties = d
        return rollout_event

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
