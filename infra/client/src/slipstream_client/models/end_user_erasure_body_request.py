from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="EndUserErasureBodyRequest")


@_attrs_define
class EndUserErasureBodyRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        end_user (str): As the requests named it (`user`, `safety_identifier`). It is not stored.
    """

    end_user: str

    def to_dict(self) -> dict[str, Any]:
        end_user = self.end_user

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "end_user": end_user,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        end_user = d.pop("end_user")

        end_user_erasure_body_request = cls(
            end_user=end_user,
        )

        return end_user_erasure_body_request
