"""What a request's steps were expected to bring and what they brought: by source, and step by step if it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

MAX_TRACED_STEPS = 4096


@dataclass(frozen=True, slots=True)
class StepTrace:
    """One step of one request. Seconds are of the whole step, whose batch may hold other requests."""

    source: str  # who drafted; "none": plain decoding
    lookahead: int  # tokens that were verified
    reason: str  # `controller.Reason`
    predicted_tokens: float
    predicted_seconds: float
    tokens: int  # emitted, the recovered or bonus token included
    seconds: float


@dataclass(frozen=True, slots=True)
class Goodput:
    """Sums over steps. Seconds are the request's share: divided by the batch."""

    steps: int = 0
    predicted_tokens: float = 0.0
    predicted_seconds: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Goodput) -> Goodput:
        return Goodput(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Goodput)))


def add_goodput(left: Mapping[str, Goodput], right: Mapping[str, Goodput]) -> dict[str, Goodput]:
    """Sums by source."""
    return {source: left.get(source, Goodput()) + right.get(source, Goodput()) for source in {**left, **right}}
