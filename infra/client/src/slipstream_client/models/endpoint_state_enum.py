from __future__ import annotations

from enum import StrEnum


class EndpointStateEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    DEGRADED = "degraded"
    DELETED = "deleted"
    DELETING = "deleting"
    FAILED = "failed"
    LOADING = "loading"
    PENDING = "pending"
    PROVISIONING = "provisioning"
    READY = "ready"
    STOPPED = "stopped"
    STOPPING = "stopping"
    UPDATING = "updating"

    @classmethod
    def _missing_(cls, value: object) -> EndpointStateEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
