from __future__ import annotations

from enum import StrEnum


class AdaptationEventKindEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    CANARY = "canary"
    DRIFT = "drift"
    FAILED = "failed"
    FROZEN = "frozen"
    POLICY = "policy"
    PROMOTED = "promoted"
    QUEUED = "queued"
    REGRESSED = "regressed"
    REJECTED = "rejected"
    RELEARNING = "relearning"
    RETIRED = "retired"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
    THAWED = "thawed"
    TRAINED = "trained"
    WAITING = "waiting"

    @classmethod
    def _missing_(cls, value: object) -> AdaptationEventKindEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
