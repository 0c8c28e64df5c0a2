from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.speculator_version_state_enum import SpeculatorVersionStateEnum

if TYPE_CHECKING:
    from ..models.state_reason import StateReason


T = TypeVar("T", bound="SpeculatorVersion")


@_attrs_define
class SpeculatorVersion:
    """
    Attributes:
        id (str):
        organization_id (str):
        project_id (str):
        speculator_id (str):
        number (int):
        state (SpeculatorVersionStateEnum): * `uploading` - uploading
            * `verifying` - verifying
            * `eligible` - eligible
            * `canary` - canary
            * `active` - active
            * `superseded` - superseded
            * `retired` - retired
            * `purged` - purged
            * `rejected` - rejected
            * `quarantined` - quarantined
        state_reason (StateReason):
        state_changed_at (datetime.datetime):
        parent_id (None | str):
        training_run_id (None | str):
        sha256 (str):
        size_bytes (int):
        static_sha256 (str):
        manifest_key (str):
        manifest_sha256 (str):
        window_start (datetime.datetime | None):
        window_end (datetime.datetime | None):
        sample_count (int):
        consent (Any):
        lineage (Any): The digest of the input, how much it was, and how many records were captured under which policy.
        evaluation (Any): Held-out replay by arm (candidate, static, incumbent); `interval` bounds its acceptance
            length.
        gate (Any): The gate's decision: outcome, reason, gain with its bounds, and the thresholds it was judged by.
        created_at (datetime.datetime):
        promoted_at (datetime.datetime | None):
    """

    id: str
    organization_id: str
    project_id: str
    speculator_id: str
    number: int
    state: SpeculatorVersionStateEnum
    state_reason: StateReason
    state_changed_at: datetime.datetime
    parent_id: None | str
    training_run_id: None | str
    sha256: str
    size_bytes: int
    static_sha256: str
    manifest_key: str
    manifest_sha256: str
    window_start: datetime.datetime | None
    window_end: datetime.datetime | None
    sample_count: int
    consent: Any
    lineage: Any
    evaluation: Any
    gate: Any
    created_at: datetime.datetime
    promoted_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        project_id = self.project_id

        speculator_id = self.speculator_id

        number = self.number

        state = self.state.value

        state_reason = self.state_reason.to_dict()

        state_changed_at = self.state_changed_at.isoformat()

        parent_id: None | str
        parent_id = self.parent_id

        training_run_id: None | str
        training_run_id = self.training_run_id

        sha256 = self.sha256

        size_bytes = self.size_bytes

        static_sha256 = self.static_sha256

        manifest_key = self.manifest_key

        manifest_sha256 = self.manifest_sha256

        window_start: None | str
        if isinstance(self.window_start, datetime.datetime):
            window_start = self.window_start.isoformat()
        else:
            window_start = self.window_start

        window_end: None | str
        if isinstance(self.window_end, datetime.datetime):
            window_end = self.window_end.isoformat()
        else:
            window_end = self.window_end

        sample_count = self.sample_count

        consent = self.consent

        lineage = self.lineage

        evaluation = self.evaluation

        gate = self.gate

        created_at = self.created_at.isoformat()

        promoted_at: None | str
        if isinstance(self.promoted_at, datetime.datetime):
            promoted_at = self.promoted_at.isoformat()
        else:
            promoted_at = self.promoted_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "project_id": project_id,
                "speculator_id": speculator_id,
                "number": number,
                "state": state,
                "state_reason": state_reason,
                "state_changed_at": state_changed_at,
                "parent_id": parent_id,
                "training_run_id": training_run_id,
                "sha256": sha256,
                "size_bytes": size_bytes,
                "static_sha256": static_sha256,
                "manifest_key": manifest_key,
                "manifest_sha256": manifest_sha256,
                "window_start": window_start,
                "window_end": window_end,
                "sample_count": sample_count,
                "consent": consent,
                "lineage": lineage,
                "evaluation": evaluation,
                "gate": gate,
                "created_at": created_at,
                "promoted_at": promoted_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.state_reason import StateReason  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        project_id = d.pop("project_id")

        speculator_id = d.pop("speculator_id")

        number = d.pop("number")

        state = SpeculatorVersionStateEnum(d.pop("state"))

        state_reason = StateReason.from_dict(d.pop("state_reason"))

        state_changed_at = datetime.datetime.fromisoformat(d.pop("state_changed_at"))

        def _parse_parent_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        parent_id = _parse_parent_id(d.pop("parent_id"))

        def _parse_training_run_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        training_run_id = _parse_training_run_id(d.pop("training_run_id"))

        sha256 = d.pop("sha256")

        size_bytes = d.pop("size_bytes")

        static_sha256 = d.pop("static_sha256")

        manifest_key = d.pop("manifest_key")

        manifest_sha256 = d.pop("manifest_sha256")

        def _parse_window_start(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                window_start_type_0 = datetime.datetime.fromisoformat(data)

                return window_start_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        window_start = _parse_window_start(d.pop("window_start"))

        def _parse_window_end(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                window_end_type_0 = datetime.datetime.fromisoformat(data)

                return window_end_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        window_end = _parse_window_end(d.pop("window_end"))

        sample_count = d.pop("sample_count")

        consent = d.pop("consent")

        lineage = d.pop("lineage")

        evaluation = d.pop("evaluation")

        gate = d.pop("gate")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_promoted_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                promoted_at_type_0 = datetime.datetime.fromisoformat(data)

                return promoted_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        promoted_at = _parse_promoted_at(d.pop("promoted_at"))

        speculator_version = cls(
            id=id,
            organization_id=organization_id,
            project_id=project_id,
            speculator_id=speculator_id,
            number=number,
            state=state,
            state_reason=state_reason,
            state_changed_at=state_changed_at,
            parent_id=parent_id,
            training_run_id=training_run_id,
            sha256=sha256,
            size_bytes=size_bytes,
            static_sha256=static_sha256,
            manifest_key=manifest_key,
            manifest_sha256=manifest_sha256,
            window_start=window_start,
            window_end=window_end,
            sample_count=sample_count,
            consent=consent,
            lineage=lineage,
            evaluation=evaluation,
            gate=gate,
            created_at=created_at,
            promoted_at=promoted_at,
        )

        speculator_version.additional_properties = d
        return speculator_version

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
