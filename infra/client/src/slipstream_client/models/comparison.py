from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.compared_version import ComparedVersion


T = TypeVar("T", bound="Comparison")


@_attrs_define
class Comparison:
    """
    Attributes:
        version (ComparedVersion):
        other (ComparedVersion | None):
        same_static (bool):
        is_ancestor (bool):
    """

    version: ComparedVersion
    other: ComparedVersion | None
    same_static: bool
    is_ancestor: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.compared_version import ComparedVersion  # noqa: PLC0415

        version = self.version.to_dict()

        other: dict[str, Any] | None
        if isinstance(self.other, ComparedVersion):
            other = self.other.to_dict()
        else:
            other = self.other

        same_static = self.same_static

        is_ancestor = self.is_ancestor

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "version": version,
                "other": other,
                "same_static": same_static,
                "is_ancestor": is_ancestor,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.compared_version import ComparedVersion  # noqa: PLC0415

        d = dict(src_dict)
        version = ComparedVersion.from_dict(d.pop("version"))

        def _parse_other(data: object) -> ComparedVersion | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                other_type_0 = ComparedVersion.from_dict(data)

                return other_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ComparedVersion | None, data)

        other = _parse_other(d.pop("other"))

        same_static = d.pop("same_static")

        is_ancestor = d.pop("is_ancestor")

        comparison = cls(
            version=version,
            other=other,
            same_static=same_static,
            is_ancestor=is_ancestor,
        )

        comparison.additional_properties = d
        return comparison

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
