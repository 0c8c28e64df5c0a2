from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rollout_deployment_request import RolloutDeploymentRequest
    from ..models.rollout_plan_body_request import RolloutPlanBodyRequest


T = TypeVar("T", bound="RolloutCreateRequest")


@_attrs_define
class RolloutCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        endpoint_id (str):
        deployment (RolloutDeploymentRequest): A serializer that refuses fields it does not know and, in a body, values
            of another JSON type.
        rollout (RolloutPlanBodyRequest | Unset): How a change reaches the requests. What is not given is the strategy's
            default.
    """

    endpoint_id: str
    deployment: RolloutDeploymentRequest
    rollout: RolloutPlanBodyRequest | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        endpoint_id = self.endpoint_id

        deployment = self.deployment.to_dict()

        rollout: dict[str, Any] | Unset = UNSET
        if not isinstance(self.rollout, Unset):
            rollout = self.rollout.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "endpoint_id": endpoint_id,
                "deployment": deployment,
            }
        )
        if rollout is not UNSET:
            field_dict["rollout"] = rollout

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rollout_deployment_request import RolloutDeploymentRequest  # noqa: PLC0415
        from ..models.rollout_plan_body_request import RolloutPlanBodyRequest  # noqa: PLC0415

        d = dict(src_dict)
        endpoint_id = d.pop("endpoint_id")

        deployment = RolloutDeploymentRequest.from_dict(d.pop("deployment"))

        _rollout = d.pop("rollout", UNSET)
        rollout: RolloutPlanBodyRequest | Unset
        if isinstance(_rollout, Unset):
            rollout = UNSET
        else:
            rollout = RolloutPlanBodyRequest.from_dict(_rollout)

        rollout_create_request = cls(
            endpoint_id=endpoint_id,
            deployment=deployment,
            rollout=rollout,
        )

        return rollout_create_request
