from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.exported_file import ExportedFile


T = TypeVar("T", bound="VersionExport")


@_attrs_define
class VersionExport:
    """
    Attributes:
        speculator_version_id (str):
        expires_at (datetime.datetime):
        files (list[ExportedFile]):
    """

    speculator_version_id: str
    expires_at: datetime.datetime
    files: list[ExportedFile]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        speculator_version_id = self.speculator_version_id

        expires_at = self.expires_at.isoformat()

        files = []
        for files_item_data in self.files:
            files_item = files_item_data.to_dict()
            files.append(files_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "speculator_version_id": speculator_version_id,
                "expires_at": expires_at,
                "files": files,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.exported_file import ExportedFile  # noqa: PLC0415

        d = dict(src_dict)
        speculator_version_id = d.pop("speculator_version_id")

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        files = []
        _files = d.pop("files")
        for files_item_data in _files:
            files_item = ExportedFile.from_dict(files_item_data)

            files.append(files_item)

        version_export = cls(
            speculator_version_id=speculator_version_id,
            expires_at=expires_at,
            files=files,
        )

        version_export.additional_properties = d
        return version_export

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
