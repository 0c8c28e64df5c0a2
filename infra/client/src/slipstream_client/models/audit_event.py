from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="AuditEvent")


@_attrs_define
class AuditEvent:
    """
    Attributes:
        id (str):
        organization_id (str):
        number (int): Gapless within an organization.
        at (datetime.datetime):
        actor (str):
        action (str):
        target (str):
        changes (Any): `{field: [before, after]}`; secrets and e-mail addresses are masked.
        request_id (str):
        previous_sha256 (str):
        sha256 (str): Over this event's content and the hash before it.
    """

    id: str
    organization_id: str
    number: int
    at: datetime.datetime
    actor: str
    action: str
    target: str
    changes: Any
    request_id: str
    previous_sha256: str
    sha256: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        number = self.number

        at = self.at.isoformat()

        actor = self.actor

        action = self.action

        target = self.target

        changes = self.changes

        request_id = self.request_id

        previous_sha256 = self.previous_sha256

        sha256 = self.sha256

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "number": number,
                "at": at,
                "actor": actor,
                "action": action,
                "target": target,
                "changes": changes,
                "request_id": request_id,
                "previous_sha256": previous_sha256,
                "sha256": sha256,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        number = d.pop("number")

        at = datetime.datetime.fromisoformat(d.pop("at"))

        actor = d.pop("actor")

        action = d.pop("action")

        target = d.pop("target")

        changes = d.pop("changes")

        request_id = d.pop("request_id")

        previous_sha256 = d.pop("previous_sha256")

        sha256 = d.pop("sha256")

        audit_event = cls(
            id=id,
            organization_id=organization_id,
            number=number,
            at=at,
            actor=actor,
            action=action,
            target=target,
            changes=changes,
            request_id=request_id,
            previous_sha256=previous_sha256,
            sha256=sha256,
        )

        audit_event.additional_properties = d
        return audit_event

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
