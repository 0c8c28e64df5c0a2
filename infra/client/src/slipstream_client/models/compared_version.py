from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.compared_version_evaluation import ComparedVersionEvaluation
    from ..models.live_window import LiveWindow


T = TypeVar("T", bound="ComparedVersion")


@_attrs_define
class ComparedVersion:
    """
    Attributes:
        version_id (str):
        number (int):
        state (str):
        size_bytes (int):
        sample_count (int):
        window_start (datetime.datetime | None):
        window_end (datetime.datetime | None):
        evaluation (ComparedVersionEvaluation):
        gain_over_static (float | None):
        live (LiveWindow):
    """

    version_id: str
    number: int
    state: str
    size_bytes: int
    sample_count: int
    window_start: datetime.datetime | None
    window_end: datetime.datetime | None
    evaluation: ComparedVersionEvaluation
    gain_over_static: float | None
    live: LiveWindow
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        version_id = self.version_id

        number = self.number

        state = self.state

        size_bytes = self.size_bytes

        sample_count = self.sample_count

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

        evaluation = self.evaluation.to_dict()

        gain_over_static: float | None
        gain_over_static = self.gain_over_static

        live = self.live.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "version_id": version_id,
                "number": number,
                "state": state,
                "size_bytes": size_bytes,
                "sample_count": sample_count,
                "window_start": window_start,
                "window_end": window_end,
                "evaluation": evaluation,
                "gain_over_static": gain_over_static,
                "live": live,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.compared_version_evaluation import ComparedVersionEvaluation  # noqa: PLC0415
        from ..models.live_window import LiveWindow  # noqa: PLC0415

        d = dict(src_dict)
        version_id = d.pop("version_id")

        number = d.pop("number")

        state = d.pop("state")

        size_bytes = d.pop("size_bytes")

        sample_count = d.pop("sample_count")

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

        evaluation = ComparedVersionEvaluation.from_dict(d.pop("evaluation"))

        def _parse_gain_over_static(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        gain_over_static = _parse_gain_over_static(d.pop("gain_over_static"))

        live = LiveWindow.from_dict(d.pop("live"))

        compared_version = cls(
            version_id=version_id,
            number=number,
            state=state,
            size_bytes=size_bytes,
            sample_count=sample_count,
            window_start=window_start,
            window_end=window_end,
            evaluation=evaluation,
            gain_over_static=gain_over_static,
            live=live,
        )

        compared_version.additional_properties = d
        return compared_version

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
