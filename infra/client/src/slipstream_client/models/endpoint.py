from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.desired_state_enum import DesiredStateEnum
from ..models.endpoint_state_enum import EndpointStateEnum
from ..models.speculation_mode_enum import SpeculationModeEnum

if TYPE_CHECKING:
    from ..models.state_reason import StateReason


T = TypeVar("T", bound="Endpoint")


@_attrs_define
class Endpoint:
    """
    Attributes:
        id (str):
        organization_id (str):
        project_id (str):
        name (str):
        model (str):
        desired_state (DesiredStateEnum): * `running` - running
            * `stopped` - stopped
            * `deleted` - deleted
        state (EndpointStateEnum): * `degraded` - degraded
            * `deleted` - deleted
            * `deleting` - deleting
            * `failed` - failed
            * `loading` - loading
            * `pending` - pending
            * `provisioning` - provisioning
            * `ready` - ready
            * `stopped` - stopped
            * `stopping` - stopping
            * `updating` - updating
        state_reason (StateReason):
        state_changed_at (datetime.datetime):
        speculation_mode (SpeculationModeEnum): * `off` - off
            * `static` - static
            * `adaptive` - adaptive
        max_lookahead (int):
        holdout_rate (float):
        min_replicas (int):
        max_replicas (int):
        desired_replicas (int): What the load asks for, from `min_replicas` to `max_replicas`: up at once, down one at a
            time after a quiet time. Each change is an event (`scaled`).
        ready_replicas (int): Nodes that serve it now.
        deployment_id (str): The active deployment, which the policy above is of.
        rollout_id (None | str): The open rollout.
        undelete_until (datetime.datetime | None):
        generation (int):
        observed_generation (int):
        etag (str):
        created_at (datetime.datetime):
        updated_at (datetime.datetime):
    """

    id: str
    organization_id: str
    project_id: str
    name: str
    model: str
    desired_state: DesiredStateEnum
    state: EndpointStateEnum
    state_reason: StateReason
    state_changed_at: datetime.datetime
    speculation_mode: SpeculationModeEnum
    max_lookahead: int
    holdout_rate: float
    min_replicas: int
    max_replicas: int
    desired_replicas: int
    ready_replicas: int
    deployment_id: str
    rollout_id: None | str
    undelete_until: datetime.datetime | None
    generation: int
    observed_generation: int
    etag: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        organization_id = self.organization_id

        project_id = self.project_id

        name = self.name

        model = self.model

        desired_state = self.desired_state.value

        state = self.state.value

        state_reason = self.state_reason.to_dict()

        state_changed_at = self.state_changed_at.isoformat()

        speculation_mode = self.speculation_mode.value

        max_lookahead = self.max_lookahead

        holdout_rate = self.holdout_rate

        min_replicas = self.min_replicas

        max_replicas = self.max_replicas

        desired_replicas = self.desired_replicas

        ready_replicas = self.ready_replicas

        deployment_id = self.deployment_id

        rollout_id: None | str
        rollout_id = self.rollout_id

        undelete_until: None | str
        if isinstance(self.undelete_until, datetime.datetime):
            undelete_until = self.undelete_until.isoformat()
        else:
            undelete_until = self.undelete_until

        generation = self.generation

        observed_generation = self.observed_generation

        etag = self.etag

        created_at = self.created_at.isoformat()

        updated_at = self.updated_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "organization_id": organization_id,
                "project_id": project_id,
                "name": name,
                "model": model,
                "desired_state": desired_state,
                "state": state,
                "state_reason": state_reason,
                "state_changed_at": state_changed_at,
                "speculation_mode": speculation_mode,
                "max_lookahead": max_lookahead,
                "holdout_rate": holdout_rate,
                "min_replicas": min_replicas,
                "max_replicas": max_replicas,
                "desired_replicas": desired_replicas,
                "ready_replicas": ready_replicas,
                "deployment_id": deployment_id,
                "rollout_id": rollout_id,
                "undelete_until": undelete_until,
                "generation": generation,
                "observed_generation": observed_generation,
                "etag": etag,
                "created_at": created_at,
                "updated_at": updated_at,
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

        name = d.pop("name")

        model = d.pop("model")

        desired_state = DesiredStateEnum(d.pop("desired_state"))

        state = EndpointStateEnum(d.pop("state"))

        state_reason = StateReason.from_dict(d.pop("state_reason"))

        state_changed_at = datetime.datetime.fromisoformat(d.pop("state_changed_at"))

        speculation_mode = SpeculationModeEnum(d.pop("speculation_mode"))

        max_lookahead = d.pop("max_lookahead")

        holdout_rate = d.pop("holdout_rate")

        min_replicas = d.pop("min_replicas")

        max_replicas = d.pop("max_replicas")

        desired_replicas = d.pop("desired_replicas")

        ready_replicas = d.pop("ready_replicas")

        deployment_id = d.pop("deployment_id")

        def _parse_rollout_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        rollout_id = _parse_rollout_id(d.pop("rollout_id"))

        def _parse_undelete_until(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                undelete_until_type_0 = datetime.datetime.fromisoformat(data)

                return undelete_until_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        undelete_until = _parse_undelete_until(d.pop("undelete_until"))

        generation = d.pop("generation")

        observed_generation = d.pop("observed_generation")

        etag = d.pop("etag")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        updated_at = datetime.datetime.fromisoformat(d.pop("updated_at"))

        endpoint = cls(
            id=id,
            organization_id=organization_id,
            project_id=project_id,
            name=name,
            model=model,
            desired_state=desired_state,
            state=state,
            state_reason=state_reason,
            state_changed_at=state_changed_at,
            speculation_mode=speculation_mode,
            max_lookahead=max_lookahead,
            holdout_rate=holdout_rate,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            desired_replicas=desired_replicas,
            ready_replicas=ready_replicas,
            deployment_id=deployment_id,
            rollout_id=rollout_id,
            undelete_until=undelete_until,
            generation=generation,
            observed_generation=observed_generation,
            etag=etag,
            created_at=created_at,
            updated_at=updated_at,
        )

        endpoint.additional_properties = d
        return endpoint

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
