from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="PatchedWebhookUpdateRequest")


@_attrs_define
class PatchedWebhookUpdateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        url (str | Unset): https, without user, password and fragment.
        description (str | Unset):
        event_types (list[str] | Unset): `*`, `endpoint.*`, `endpoint.ready`, `training_run.succeeded`,
            `speculator_version.active`, `audit.*`, `audit.api_key.create`, …: a noun and the state that it came to, `note`
            for what changes no state, or the action of an audit event. At most 32.
        enabled (bool | Unset): True also forgets earlier failures.
    """

    url: str | Unset = UNSET
    description: str | Unset = UNSET
    event_types: list[str] | Unset = UNSET
    enabled: bool | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        url = self.url

        description = self.description

        event_types: list[str] | Unset = UNSET
        if not isinstance(self.event_types, Unset):
            event_types = self.event_types

        enabled = self.enabled

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if url is not UNSET:
            field_dict["url"] = url
        if description is not UNSET:
            field_dict["description"] = description
        if event_types is not UNSET:
            field_dict["event_types"] = event_types
        if enabled is not UNSET:
            field_dict["enabled"] = enabled

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        url = d.pop("url", UNSET)

        description = d.pop("description", UNSET)

        event_types = cast(list[str], d.pop("event_types", UNSET))

        enabled = d.pop("enabled", UNSET)

        patched_webhook_update_request = cls(
            url=url,
            description=description,
            event_types=event_types,
            enabled=enabled,
        )

        return patched_webhook_update_request
