from __future__ import annotations

from enum import StrEnum


class ListTrainingRunsState(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    ADMITTED = "admitted"
    CANCELLED = "cancelled"
    EVALUATING = "evaluating"
    FAILED = "failed"
    PREPARING = "preparing"
    PUBLISHING = "publishing"
    QUEUED = "queued"
    REJECTED = "rejected"
    RUNNING = "running"
    SKIPPED = "skipped"
    SUCCEEDED = "succeeded"

    @classmethod
    def _missing_(cls, value: object) -> ListTrainingRunsState | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
