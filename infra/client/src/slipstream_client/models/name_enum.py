from __future__ import annotations

from enum import StrEnum


class NameEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    ACCEPTANCE = "acceptance"
    ERRORS = "errors"
    FIRST_TOKEN = "first_token"
    PER_TOKEN = "per_token"

    @classmethod
    def _missing_(cls, value: object) -> NameEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
