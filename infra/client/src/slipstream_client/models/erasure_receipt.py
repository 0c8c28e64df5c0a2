from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ErasureReceipt")


@_attrs_define
class ErasureReceipt:
    """
    Attributes:
        id (str):
        project_id (str):
        end_user_id (str): Whose traffic it was; empty: everybody's.
        requested_by (str):
        requested_at (datetime.datetime):
        completed_at (datetime.datetime | None):
        num_objects (int): Objects deleted, or rewritten without the end user's records.
        num_records (int):
        retired_versions (list[str]):
    """

    id: str
    project_id: str
    end_user_id: str
    requested_by: str
    requested_at: datetime.datetime
    completed_at: datetime.datetime | None
    num_objects: int
    num_records: int
    retired_versions: list[str]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        project_id = self.project_id

        end_user_id = self.end_user_id

        requested_by = self.requested_by

        requested_at = self.requested_at.isoformat()

        completed_at: None | str
        if isinstance(self.completed_at, datetime.datetime):
            completed_at = self.completed_at.isoformat()
        else:
            completed_at = self.completed_at

        num_objects = self.num_objects

        num_records = self.num_records

        retired_versions = self.retired_versions

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "project_id": project_id,
                "end_user_id": end_user_id,
                "requested_by": requested_by,
                "requested_at": requested_at,
                "completed_at": completed_at,
                "num_objects": num_objects,
                "num_records": num_records,
                "retired_versions": retired_versions,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        project_id = d.pop("project_id")

        end_user_id = d.pop("end_user_id")

        requested_by = d.pop("requested_by")

        requested_at = datetime.datetime.fromisoformat(d.pop("requested_at"))

        def _parse_completed_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                completed_at_type_0 = datetime.datetime.fromisoformat(data)

                return completed_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        completed_at = _parse_completed_at(d.pop("completed_at"))

        num_objects = d.pop("num_objects")

        num_records = d.pop("num_records")

        retired_versions = cast(list[str], d.pop("retired_versions"))

        erasure_receipt = cls(
            id=id,
            project_id=project_id,
            end_user_id=end_user_id,
            requested_by=requested_by,
            requested_at=requested_at,
            completed_at=completed_at,
            num_objects=num_objects,
            num_records=num_records,
            retired_versions=retired_versions,
        )

        erasure_receipt.additional_properties = d
        return erasure_receipt

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
