from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.broken import Broken


T = TypeVar("T", bound="Verification")


@_attrs_define
class Verification:
    """
    Attributes:
        organization_id (str):
        whole (bool): Of the events that this answer checked.
        checked (int):
        first_broken (Broken | None):
        last_number (int): Of the last event that is as it should be.
        head_sha256 (str): Its hash: note it, to notice later if events were cut off.
        next_after_number (int | None):
    """

    organization_id: str
    whole: bool
    checked: int
    first_broken: Broken | None
    last_number: int
    head_sha256: str
    next_after_number: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.broken import Broken  # noqa: PLC0415

        organization_id = self.organization_id

        whole = self.whole

        checked = self.checked

        first_broken: dict[str, Any] | None
        if isinstance(self.first_broken, Broken):
            first_broken = self.first_broken.to_dict()
        else:
            first_broken = self.first_broken

        last_number = self.last_number

        head_sha256 = self.head_sha256

        next_after_number: int | None
        next_after_number = self.next_after_number

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "organization_id": organization_id,
                "whole": whole,
                "checked": checked,
                "first_broken": first_broken,
                "last_number": last_number,
                "head_sha256": head_sha256,
                "next_after_number": next_after_number,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.broken import Broken  # noqa: PLC0415

        d = dict(src_dict)
        organization_id = d.pop("organization_id")

        whole = d.pop("whole")

        checked = d.pop("checked")

        def _parse_first_broken(data: object) -> Broken | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                first_broken_type_0 = Broken.from_dict(data)

                return first_broken_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Broken | None, data)

        first_broken = _parse_first_broken(d.pop("first_broken"))

        last_number = d.pop("last_number")

        head_sha256 = d.pop("head_sha256")

        def _parse_next_after_number(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        next_after_number = _parse_next_after_number(d.pop("next_after_number"))

        verification = cls(
            organization_id=organization_id,
            whole=whole,
            checked=checked,
            first_broken=first_broken,
            last_number=last_number,
            head_sha256=head_sha256,
            next_after_number=next_after_number,
        )

        verification.additional_properties = d
        return verification

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
