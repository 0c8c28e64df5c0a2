from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.training_run_state_enum import TrainingRunStateEnum

if TYPE_CHECKING:
    from ..models.loss_point import LossPoint
    from ..models.state_reason import StateReason


T = TypeVar("T", bound="TrainingRunDetail")


@_attrs_define
class TrainingRunDetail:
    """
    Attributes:
        id (str):
        organization_id (str):
        project_id (str):
        speculator_id (str):
        trigger (str):
        state (TrainingRunStateEnum): * `queued` - queued
            * `admitted` - admitted
            * `preparing` - preparing
            * `running` - running
            * `evaluating` - evaluating
            * `publishing` - publishing
            * `succeeded` - succeeded
            * `rejected` - rejected
            * `skipped` - skipped
            * `failed` - failed
            * `cancelled` - cancelled
        state_reason (StateReason):
        state_changed_at (datetime.datetime):
        attempts (int):
        phase (str):
        progress (float):
        loss (float | None):
        training_milliseconds (int): Of the training process, over all attempts: metered.
        heartbeat_at (datetime.datetime | None):
        cancel_requested_at (datetime.datetime | None):
        inputs (Any): The frozen input: segments to learn from and held out.
        consent (Any):
        lineage (Any): As the version's, known once the input was read.
        incumbent_version_id (None | str):
        report (Any): What the training process measured.
        gate (Any): The gate's decision: outcome, reason, gain and its bound.
        speculator_version_id (None | str):
        created_at (datetime.datetime):
        started_at (datetime.datetime | None):
        finished_at (datetime.datetime | None):
        loss_series (list[LossPoint]):
    """

    id: str
    organization_id: str
    project_id: str
    speculator_id: str
    trigger: str
    state: TrainingRunStateEnum
    state_reason: StateReason
    state_changed_at: datetime.datetime
    attempts: int
    phase: str
    progress: float
    loss: float | None
    training_milliseconds: int
    heartbeat_at: datetime.datetime | None
    cancel_requested_at: datetime.datetime | None
    inputs: Any
    consent: Any
    lineage: Any
    incumbent_version_id: None | str
    report: Any
    gate: Any
    speculator_version_id: None | str
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    loss_series: list[LossPoint]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        project_id = self.project_id

        speculator_id = self.speculator_id

        trigger = self.trigger

        state = self.state.value

        state_reason = self.state_reason.to_dict()

        state_changed_at = self.state_changed_at.isoformat()

        attempts = self.attempts

        phase = self.phase

        progress = self.progress

        loss: float | None
        loss = self.loss

        training_milliseconds = self.training_milliseconds

        heartbeat_at: None | str
        if isinstance(self.heartbeat_at, datetime.datetime):
            heartbeat_at = self.heartbeat_at.isoformat()
        else:
            heartbeat_at = self.heartbeat_at

        cancel_requested_at: None | str
        if isinstance(self.cancel_requested_at, datetime.datetime):
            cancel_requested_at = self.cancel_requested_at.isoformat()
        else:
            cancel_requested_at = self.cancel_requested_at

        inputs = self.inputs

        consent = self.consent

        lineage = self.lineage

        incumbent_version_id: None | str
        incumbent_version_id = self.incumbent_version_id

        report = self.report

        gate = self.gate

        speculator_version_id: None | str
        speculator_version_id = self.speculator_version_id

        created_at = self.created_at.isoformat()

        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        finished_at: None | str
        if isinstance(self.finished_at, datetime.datetime):
            finished_at = self.finished_at.isoformat()
        else:
            finished_at = self.finished_at

        loss_series = []
        for loss_series_item_data in self.loss_series:
            loss_series_item = loss_series_item_data.to_dict()
            loss_series.append(loss_series_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "project_id": project_id,
                "speculator_id": speculator_id,
                "trigger": trigger,
                "state": state,
                "state_reason": state_reason,
                "state_changed_at": state_changed_at,
                "attempts": attempts,
                "phase": phase,
                "progress": progress,
                "loss": loss,
                "training_milliseconds": training_milliseconds,
                "heartbeat_at": heartbeat_at,
                "cancel_requested_at": cancel_requested_at,
                "inputs": inputs,
                "consent": consent,
                "lineage": lineage,
                "incumbent_version_id": incumbent_version_id,
                "report": report,
                "gate": gate,
                "speculator_version_id": speculator_version_id,
                "created_at": created_at,
                "started_at": started_at,
                "finished_at": finished_at,
                "loss_series": loss_series,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.loss_point import LossPoint  # noqa: PLC0415
        from ..models.state_reason import StateReason  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        project_id = d.pop("project_id")

        speculator_id = d.pop("speculator_id")

        trigger = d.pop("trigger")

        state = TrainingRunStateEnum(d.pop("state"))

        state_reason = StateReason.from_dict(d.pop("state_reason"))

        state_changed_at = datetime.datetime.fromisoformat(d.pop("state_changed_at"))

        attempts = d.pop("attempts")

        phase = d.pop("phase")

        progress = d.pop("progress")

        def _parse_loss(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        loss = _parse_loss(d.pop("loss"))

        training_milliseconds = d.pop("training_milliseconds")

        def _parse_heartbeat_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                heartbeat_at_type_0 = datetime.datetime.fromisoformat(data)

                return heartbeat_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        heartbeat_at = _parse_heartbeat_at(d.pop("heartbeat_at"))

        def _parse_cancel_requested_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                cancel_requested_at_type_0 = datetime.datetime.fromisoformat(data)

                return cancel_requested_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        cancel_requested_at = _parse_cancel_requested_at(d.pop("cancel_requested_at"))

        inputs = d.pop("inputs")

        consent = d.pop("consent")

        lineage = d.pop("lineage")

        def _parse_incumbent_version_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        incumbent_version_id = _parse_incumbent_version_id(d.pop("incumbent_version_id"))

        report = d.pop("report")

        gate = d.pop("gate")

        def _parse_speculator_version_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        speculator_version_id = _parse_speculator_version_id(d.pop("speculator_version_id"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("started_at"))

        def _parse_finished_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finished_at_type_0 = datetime.datetime.fromisoformat(data)

                return finished_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        finished_at = _parse_finished_at(d.pop("finished_at"))

        loss_series = []
        _loss_series = d.pop("loss_series")
        for loss_series_item_data in _loss_series:
            loss_series_item = LossPoint.from_dict(loss_series_item_data)

            loss_series.append(loss_series_item)

        training_run_detail = cls(
            id=id,
            organization_id=organization_id,
            project_id=project_id,
            speculator_id=speculator_id,
            trigger=trigger,
            state=state,
            state_reason=state_reason,
            state_changed_at=state_changed_at,
            attempts=attempts,
            phase=phase,
            progress=progress,
            loss=loss,
            training_milliseconds=training_milliseconds,
            heartbeat_at=heartbeat_at,
            cancel_requested_at=cancel_requested_at,
            inputs=inputs,
            consent=consent,
            lineage=lineage,
            incumbent_version_id=incumbent_version_id,
            report=report,
            gate=gate,
            speculator_version_id=speculator_version_id,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
            loss_series=loss_series,
        )

        training_run_detail.additional_properties = d
        return training_run_detail

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
