from __future__ import annotations

from enum import StrEnum


class RolloutStateEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    ABORTED = "aborted"
    ABORTING = "aborting"
    COMPLETED = "completed"
    FAILED = "failed"
    OBSERVING = "observing"
    PAUSED = "paused"
    PENDING = "pending"
    SHIFTING = "shifting"
    SURGING = "surging"

    @classmethod
    def _missing_(cls, value: object) -> RolloutStateEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
