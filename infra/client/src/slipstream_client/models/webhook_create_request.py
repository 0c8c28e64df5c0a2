from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="WebhookCreateRequest")


@_attrs_define
class WebhookCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        url (str): https, without user, password and fragment.
        event_types (list[str]): `*`, `endpoint.*`, `endpoint.ready`, `training_run.succeeded`,
            `speculator_version.active`, `audit.*`, `audit.api_key.create`, …: a noun and the state that it came to, `note`
            for what changes no state, or the action of an audit event. At most 32.
        organization_id (str):
        description (str | Unset):
    """

    url: str
    event_types: list[str]
    organization_id: str
    description: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        url = self.url

        event_types = self.event_types

        organization_id = self.organization_id

        description = self.description

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "url": url,
                "event_types": event_types,
                "organization_id": organization_id,
            }
        )
        if description is not UNSET:
            field_dict["description"] = description

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        url = d.pop("url")

        event_types = cast(list[str], d.pop("event_types"))

        organization_id = d.pop("organization_id")

        description = d.pop("description", UNSET)

        webhook_create_request = cls(
            url=url,
            event_types=event_types,
            organization_id=organization_id,
            description=description,
        )

        return webhook_create_request
