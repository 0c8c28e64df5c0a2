from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.webhook_delivery_state_enum import WebhookDeliveryStateEnum

if TYPE_CHECKING:
    from ..models.state_reason import StateReason
    from ..models.webhook_attempt import WebhookAttempt
    from ..models.webhook_delivery_payload import WebhookDeliveryPayload


T = TypeVar("T", bound="WebhookDelivery")


@_attrs_define
class WebhookDelivery:
    """
    Attributes:
        id (str):
        organization_id (str):
        webhook_id (str):
        event_id (str): The header `webhook-id`: the same in every attempt and replay.
        event_type (str):
        payload (WebhookDeliveryPayload):
        state (WebhookDeliveryStateEnum): * `delivered` - delivered
            * `failed` - failed
            * `pending` - pending
        state_reason (StateReason):
        state_changed_at (datetime.datetime):
        attempts (int): Since it was made or replayed; 11 at most.
        next_attempt_at (datetime.datetime | None):
        attempt_log (list[WebhookAttempt]):
        created_at (datetime.datetime):
    """

    id: str
    organization_id: str
    webhook_id: str
    event_id: str
    event_type: str
    payload: WebhookDeliveryPayload
    state: WebhookDeliveryStateEnum
    state_reason: StateReason
    state_changed_at: datetime.datetime
    attempts: int
    next_attempt_at: datetime.datetime | None
    attempt_log: list[WebhookAttempt]
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        webhook_id = self.webhook_id

        event_id = self.event_id

        event_type = self.event_type

        payload = self.payload.to_dict()

        state = self.state.value

        state_reason = self.state_reason.to_dict()

        state_changed_at = self.state_changed_at.isoformat()

        attempts = self.attempts

        next_attempt_at: None | str
        if isinstance(self.next_attempt_at, datetime.datetime):
            next_attempt_at = self.next_attempt_at.isoformat()
        else:
            next_attempt_at = self.next_attempt_at

        attempt_log = []
        for attempt_log_item_data in self.attempt_log:
            attempt_log_item = attempt_log_item_data.to_dict()
            attempt_log.append(attempt_log_item)

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "webhook_id": webhook_id,
                "event_id": event_id,
                "event_type": event_type,
                "payload": payload,
                "state": state,
                "state_reason": state_reason,
                "state_changed_at": state_changed_at,
                "attempts": attempts,
                "next_attempt_at": next_attempt_at,
                "attempt_log": attempt_log,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.state_reason import StateReason  # noqa: PLC0415
        from ..models.webhook_attempt import WebhookAttempt  # noqa: PLC0415
        from ..models.webhook_delivery_payload import WebhookDeliveryPayload  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        webhook_id = d.pop("webhook_id")

        event_id = d.pop("event_id")

        event_type = d.pop("event_type")

        payload = WebhookDeliveryPayload.from_dict(d.pop("payload"))

        state = WebhookDeliveryStateEnum(d.pop("state"))

        state_reason = StateReason.from_dict(d.pop("state_reason"))

        state_changed_at = datetime.datetime.fromisoformat(d.pop("state_changed_at"))

        attempts = d.pop("attempts")

        def _parse_next_attempt_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                next_attempt_at_type_0 = datetime.datetime.fromisoformat(data)

                return next_attempt_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        next_attempt_at = _parse_next_attempt_at(d.pop("next_attempt_at"))

        attempt_log = []
        _attempt_log = d.pop("attempt_log")
        for attempt_log_item_data in _attempt_log:
            attempt_log_item = WebhookAttempt.from_dict(attempt_log_item_data)

            attempt_log.append(attempt_log_item)

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        webhook_delivery = cls(
            id=id,
            organization_id=organization_id,
            webhook_id=webhook_id,
            event_id=event_id,
            event_type=event_type,
            payload=payload,
            state=state,
            state_reason=state_reason,
            state_changed_at=state_changed_at,
            attempts=attempts,
            next_attempt_at=next_attempt_at,
            attempt_log=attempt_log,
            created_at=created_at,
        )

        webhook_delivery.additional_properties = d
        return webhook_delivery

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
