from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="TrainingEstimate")


@_attrs_define
class TrainingEstimate:
    """
    Attributes:
        records (int):
        new_records (int):
        seconds (int): The mean of the last runs; the limit if there are none.
        max_seconds (int):
        measured_runs (int):
        price_per_hour_microdollars (int):
        cost_microdollars (int):
        max_cost_microdollars (int):
        runs_today (int):
        max_runs_per_day (int):
        seconds_today (int):
        max_seconds_per_day (int):
        refusal (None | str): Why a run can't be started now; null: it can.
    """

    records: int
    new_records: int
    seconds: int
    max_seconds: int
    measured_runs: int
    price_per_hour_microdollars: int
    cost_microdollars: int
    max_cost_microdollars: int
    runs_today: int
    max_runs_per_day: int
    seconds_today: int
    max_seconds_per_day: int
    refusal: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        records = self.records

        new_records = self.new_records

        seconds = self.seconds

        max_seconds = self.max_seconds

        measured_runs = self.measured_runs

        price_per_hour_microdollars = self.price_per_hour_microdollars

        cost_microdollars = self.cost_microdollars

        max_cost_microdollars = self.max_cost_microdollars

        runs_today = self.runs_today

        max_runs_per_day = self.max_runs_per_day

        seconds_today = self.seconds_today

        max_seconds_per_day = self.max_seconds_per_day

        refusal: None | str
        refusal = self.refusal

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "records": records,
                "new_records": new_records,
                "seconds": seconds,
                "max_seconds": max_seconds,
                "measured_runs": measured_runs,
                "price_per_hour_microdollars": price_per_hour_microdollars,
                "cost_microdollars": cost_microdollars,
                "max_cost_microdollars": max_cost_microdollars,
                "runs_today": runs_today,
                "max_runs_per_day": max_runs_per_day,
                "seconds_today": seconds_today,
                "max_seconds_per_day": max_seconds_per_day,
                "refusal": refusal,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        records = d.pop("records")

        new_records = d.pop("new_records")

        seconds = d.pop("seconds")

        max_seconds = d.pop("max_seconds")

        measured_runs = d.pop("measured_runs")

        price_per_hour_microdollars = d.pop("price_per_hour_microdollars")

        cost_microdollars = d.pop("cost_microdollars")

        max_cost_microdollars = d.pop("max_cost_microdollars")

        runs_today = d.pop("runs_today")

        max_runs_per_day = d.pop("max_runs_per_day")

        seconds_today = d.pop("seconds_today")

        max_seconds_per_day = d.pop("max_seconds_per_day")

        def _parse_refusal(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        refusal = _parse_refusal(d.pop("refusal"))

        training_estimate = cls(
            records=records,
            new_records=new_records,
            seconds=seconds,
            max_seconds=max_seconds,
            measured_runs=measured_runs,
            price_per_hour_microdollars=price_per_hour_microdollars,
            cost_microdollars=cost_microdollars,
            max_cost_microdollars=max_cost_microdollars,
            runs_today=runs_today,
            max_runs_per_day=max_runs_per_day,
            seconds_today=seconds_today,
            max_seconds_per_day=max_seconds_per_day,
            refusal=refusal,
        )

        training_estimate.additional_properties = d
        return training_estimate

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
