from __future__ import annotations

from enum import StrEnum


class MemoryScopeEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    END_USER = "end_user"
    PROJECT = "project"

    @classmethod
    def _missing_(cls, value: object) -> MemoryScopeEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
