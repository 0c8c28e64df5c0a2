from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.counted import Counted
    from ..models.measure import Measure


T = TypeVar("T", bound="Evidence")


@_attrs_define
class Evidence:
    """
    Attributes:
        before (Counted):
        after (Counted):
        requests_in_step (int):
        measures (list[Measure]):
        reason (str):
    """

    before: Counted
    after: Counted
    requests_in_step: int
    measures: list[Measure]
    reason: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        before = self.before.to_dict()

        after = self.after.to_dict()

        requests_in_step = self.requests_in_step

        measures = []
        for measures_item_data in self.measures:
            measures_item = measures_item_data.to_dict()
            measures.append(measures_item)

        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "before": before,
                "after": after,
                "requests_in_step": requests_in_step,
                "measures": measures,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.counted import Counted  # noqa: PLC0415
        from ..models.measure import Measure  # noqa: PLC0415

        d = dict(src_dict)
        before = Counted.from_dict(d.pop("before"))

        after = Counted.from_dict(d.pop("after"))

        requests_in_step = d.pop("requests_in_step")

        measures = []
        _measures = d.pop("measures")
        for measures_item_data in _measures:
            measures_item = Measure.from_dict(measures_item_data)

            measures.append(measures_item)

        reason = d.pop("reason")

        evidence = cls(
            before=before,
            after=after,
            requests_in_step=requests_in_step,
            measures=measures,
            reason=reason,
        )

        evidence.additional_properties = d
        return evidence

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
