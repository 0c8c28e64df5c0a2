from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.capacity_nodes import CapacityNodes


T = TypeVar("T", bound="Capacity")


@_attrs_define
class Capacity:
    """
    Attributes:
        model (str):
        nodes (CapacityNodes): Number of nodes by state.
        ready_nodes (int): Nodes that answer requests.
        max_projects (int): Over the nodes that take projects.
        placed_projects (int): On those nodes; a project on two nodes counts twice.
        adaptive_bytes (int):
    """

    model: str
    nodes: CapacityNodes
    ready_nodes: int
    max_projects: int
    placed_projects: int
    adaptive_bytes: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        nodes = self.nodes.to_dict()

        ready_nodes = self.ready_nodes

        max_projects = self.max_projects

        placed_projects = self.placed_projects

        adaptive_bytes = self.adaptive_bytes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "model": model,
                "nodes": nodes,
                "ready_nodes": ready_nodes,
                "max_projects": max_projects,
                "placed_projects": placed_projects,
                "adaptive_bytes": adaptive_bytes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.capacity_nodes import CapacityNodes  # noqa: PLC0415

        d = dict(src_dict)
        model = d.pop("model")

        nodes = CapacityNodes.from_dict(d.pop("nodes"))

        ready_nodes = d.pop("ready_nodes")

        max_projects = d.pop("max_projects")

        placed_projects = d.pop("placed_projects")

        adaptive_bytes = d.pop("adaptive_bytes")

        capacity = cls(
            model=model,
            nodes=nodes,
            ready_nodes=ready_nodes,
            max_projects=max_projects,
            placed_projects=placed_projects,
            adaptive_bytes=adaptive_bytes,
        )

        capacity.additional_properties = d
        return capacity

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
