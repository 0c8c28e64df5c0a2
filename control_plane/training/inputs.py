"""What a run learns from and what it is judged on: the newest traffic is held out, the past is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.training.models import TrafficSegment

# Holding out more than this share leaves too little to learn from: then the child splits the records itself.
MAX_HELDOUT_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Inputs:
    """Object keys, oldest first, and the number of records in them."""

    train: tuple[str, ...] = ()
    heldout: tuple[str, ...] = ()
    records: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"train": list(self.train), "heldout": list(self.heldout), "records": self.records}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Inputs:
        return cls(tuple(data["train"]), tuple(data["heldout"]), int(data["records"]))


def choose_inputs(project_id: str, *, max_records: int, heldout_records: int) -> tuple[Inputs, int]:
    """The newest `max_records` of a project and the id of the last segment that exists now."""
    newest_first = TrafficSegment.objects.filter(project=project_id).order_by("-last_at", "-id")
    chosen: list[TrafficSegment] = []
    records = 0
    for segment in newest_first.iterator():
        chosen.append(segment)
        records += segment.records
        if records >= max_records:
            break
    last = TrafficSegment.objects.filter(project=project_id).order_by("-id").first()
    num_heldout = split(
        [segment.records for segment in chosen], heldout_records=heldout_records, max_share=MAX_HELDOUT_SHARE
    )
    heldout, train = chosen[:num_heldout], chosen[num_heldout:]
    keys = [tuple(segment.key for segment in reversed(part)) for part in (train, heldout)]
    return Inputs(keys[0], keys[1], records), last.id if last else 0


def split(records: list[int], *, heldout_records: int, max_share: float) -> int:
    """How many of the segments (their sizes, newest first) to hold out; 0 if whole segments are too coarse."""
    heldout = 0
    for index, size in enumerate(records):
        if heldout >= heldout_records:
            return index
        heldout += size
        if heldout > max_share * sum(records):
            return 0
    return 0
