from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.rollout_state_enum import RolloutStateEnum
from ..models.rollout_strategy_enum import RolloutStrategyEnum
from ..models.trigger_enum import TriggerEnum

if TYPE_CHECKING:
    from ..models.evidence import Evidence
    from ..models.state_reason import StateReason


T = TypeVar("T", bound="Rollout")


@_attrs_define
class Rollout:
    """
    Attributes:
        id (str):
        organization_id (str):
        project_id (str):
        endpoint_id (str):
        source_deployment_id (str):
        target_deployment_id (str):
        trigger (TriggerEnum): * `change` - change
            * `rollback` - rollback
            * `promotion` - promotion
        strategy (RolloutStrategyEnum): * `immediate` - immediate
            * `rolling` - rolling
            * `canary` - canary
        state (RolloutStateEnum): * `aborted` - aborted
            * `aborting` - aborting
            * `completed` - completed
            * `failed` - failed
            * `observing` - observing
            * `paused` - paused
            * `pending` - pending
            * `shifting` - shifting
            * `surging` - surging
        state_reason (StateReason):
        state_changed_at (datetime.datetime):
        steps_percent (list[float]):
        step (int): Steps that were begun.
        observe_seconds (int):
        min_requests (int):
        hurried (bool):
        evidence (Evidence | None):
        created_at (datetime.datetime):
        finished_at (datetime.datetime | None):
    """

    id: str
    organization_id: str
    project_id: str
    endpoint_id: str
    source_deployment_id: str
    target_deployment_id: str
    trigger: TriggerEnum
    strategy: RolloutStrategyEnum
    state: RolloutStateEnum
    state_reason: StateReason
    state_changed_at: datetime.datetime
    steps_percent: list[float]
    step: int
    observe_seconds: int
    min_requests: int
    hurried: bool
    evidence: Evidence | None
    created_at: datetime.datetime
    finished_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.evidence import Evidence  # noqa: PLC0415

        id = self.id

        organization_id = self.organization_id

        project_id = self.project_id

        endpoint_id = self.endpoint_id

        source_deployment_id = self.source_deployment_id

        target_deployment_id = self.target_deployment_id

        trigger = self.trigger.value

        strategy = self.strategy.value

        state = self.state.value

        state_reason = self.state_reason.to_dict()

        state_changed_at = self.state_changed_at.isoformat()

        steps_percent = self.steps_percent

        step = self.step

        observe_seconds = self.observe_seconds

        min_requests = self.min_requests

        hurried = self.hurried

        evidence: dict[str, Any] | None
        if isinstance(self.evidence, Evidence):
            evidence = self.evidence.to_dict()
        else:
            evidence = self.evidence

        created_at = self.created_at.isoformat()

        finished_at: None | str
        if isinstance(self.finished_at, datetime.datetime):
            finished_at = self.finished_at.isoformat()
        else:
            finished_at = self.finished_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "project_id": project_id,
                "endpoint_id": endpoint_id,
                "source_deployment_id": source_deployment_id,
                "target_deployment_id": target_deployment_id,
                "trigger": trigger,
                "strategy": strategy,
                "state": state,
                "state_reason": state_reason,
                "state_changed_at": state_changed_at,
                "steps_percent": steps_percent,
                "step": step,
                "observe_seconds": observe_seconds,
                "min_requests": min_requests,
                "hurried": hurried,
                "evidence": evidence,
                "created_at": created_at,
                "finished_at": finished_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.evidence import Evidence  # noqa: PLC0415
        from ..models.state_reason import StateReason  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        organization_id = d.pop("organization_id")

        project_id = d.pop("project_id")

        endpoint_id = d.pop("endpoint_id")

        source_deployment_id = d.pop("source_deployment_id")

        target_deployment_id = d.pop("target_deployment_id")

        trigger = TriggerEnum(d.pop("trigger"))

        strategy = RolloutStrategyEnum(d.pop("strategy"))

        state = RolloutStateEnum(d.pop("state"))

        state_reason = StateReason.from_dict(d.pop("state_reason"))

        state_changed_at = datetime.datetime.fromisoformat(d.pop("state_changed_at"))

        steps_percent = cast(list[float], d.pop("steps_percent"))

        step = d.pop("step")

        observe_seconds = d.pop("observe_seconds")

        min_requests = d.pop("min_requests")

        hurried = d.pop("hurried")

        def _parse_evidence(data: object) -> Evidence | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                evidence_type_0 = Evidence.from_dict(data)

                return evidence_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Evidence | None, data)

        evidence = _parse_evidence(d.pop("evidence"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

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

        rollout = cls(
            id=id,
            organization_id=organization_id,
            project_id=project_id,
            endpoint_id=endpoint_id,
            source_deployment_id=source_deployment_id,
            target_deployment_id=target_deployment_id,
            trigger=trigger,
            strategy=strategy,
            state=state,
            state_reason=state_reason,
            state_changed_at=state_changed_at,
            steps_percent=steps_percent,
            step=step,
            observe_seconds=observe_seconds,
            min_requests=min_requests,
            hurried=hurried,
            evidence=evidence,
            created_at=created_at,
            finished_at=finished_at,
        )

        rollout.additional_properties = d
        return rollout

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
