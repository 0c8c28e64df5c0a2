from __future__ import annotations

from enum import StrEnum


class SpeculatorVersionStateEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    ACTIVE = "active"
    CANARY = "canary"
    ELIGIBLE = "eligible"
    PURGED = "purged"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"
    RETIRED = "retired"
    SUPERSEDED = "superseded"
    UPLOADING = "uploading"
    VERIFYING = "verifying"

    @classmethod
    def _missing_(cls, value: object) -> SpeculatorVersionStateEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
