from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.adaptation_event_kind_enum import AdaptationEventKindEnum

T = TypeVar("T", bound="AdaptationEvent")


@_attrs_define
class AdaptationEvent:
    """
    Attributes:
        id (int):
        at (datetime.datetime):
        kind (AdaptationEventKindEnum): * `drift` - drift
            * `relearning` - relearning
            * `queued` - queued
            * `trained` - trained
            * `rejected` - rejected
            * `skipped` - skipped
            * `failed` - failed
            * `waiting` - waiting
            * `canary` - canary
            * `promoted` - promoted
            * `rolled_back` - rolled_back
            * `regressed` - regressed
            * `retired` - retired
            * `frozen` - frozen
            * `thawed` - thawed
            * `policy` - policy
        message (str):
        speculator_version_id (None | str):
        training_run_id (None | str):
        actor (str):
    """

    id: int
    at: datetime.datetime
    kind: AdaptationEventKindEnum
    message: str
    speculator_version_id: None | str
    training_run_id: None | str
    actor: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        at = self.at.isoformat()

        kind = self.kind.value

        message = self.message

        speculator_version_id: None | str
        speculator_version_id = self.speculator_version_id

        training_run_id: None | str
        training_run_id = self.training_run_id

        actor = self.actor

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "at": at,
                "kind": kind,
                "message": message,
                "speculator_version_id": speculator_version_id,
                "training_run_id": training_run_id,
                "actor": actor,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        at = datetime.datetime.fromisoformat(d.pop("at"))

        kind = AdaptationEventKindEnum(d.pop("kind"))

        message = d.pop("message")

        def _parse_speculator_version_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        speculator_version_id = _parse_speculator_version_id(d.pop("speculator_version_id"))

        def _parse_training_run_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        training_run_id = _parse_training_run_id(d.pop("training_run_id"))

        actor = d.pop("actor")

        adaptation_event = cls(
            id=id,
            at=at,
            kind=kind,
            message=message,
            speculator_version_id=speculator_version_id,
            training_run_id=training_run_id,
            actor=actor,
        )

        adaptation_event.additional_properties = d
        return adaptation_event

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
