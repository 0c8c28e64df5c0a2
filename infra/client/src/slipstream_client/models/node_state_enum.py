from __future__ import annotations

from enum import StrEnum


class NodeStateEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    CORDONED = "cordoned"
    DRAINED = "drained"
    DRAINING = "draining"
    LOST = "lost"
    NOT_READY = "not_ready"
    READY = "ready"
    REGISTERING = "registering"

    @classmethod
    def _missing_(cls, value: object) -> NodeStateEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
