from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Quarantined")


@_attrs_define
class Quarantined:
    """
    Attributes:
        id (int):
        node_id (str):
        boot_id (str):
        seq (int):
        reason (str):
        detail (str):
        payload (Any):
        received_at (datetime.datetime):
    """

    id: int
    node_id: str
    boot_id: str
    seq: int
    reason: str
    detail: str
    payload: Any
    received_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        node_id = self.node_id

        boot_id = self.boot_id

        seq = self.seq

        reason = self.reason

        detail = self.detail

        payload = self.payload

        received_at = self.received_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "node_id": node_id,
                "boot_id": boot_id,
                "seq": seq,
                "reason": reason,
                "detail": detail,
                "payload": payload,
                "received_at": received_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        node_id = d.pop("node_id")

        boot_id = d.pop("boot_id")

        seq = d.pop("seq")

        reason = d.pop("reason")

        detail = d.pop("detail")

        payload = d.pop("payload")

        received_at = datetime.datetime.fromisoformat(d.pop("received_at"))

        quarantined = cls(
            id=id,
            node_id=node_id,
            boot_id=boot_id,
            seq=seq,
            reason=reason,
            detail=detail,
            payload=payload,
            received_at=received_at,
        )

        quarantined.additional_properties = d
        return quarantined

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
