"""Local segments of consented traffic, between the request that wrote them and the bucket.

    traffic/open/{project_id}/{sequence}.jsonl        records as they come, one JSON line each
    traffic/ready/{sequence}-{n}.zst                  closed, compressed
    traffic/ready/{sequence}-{n}.json                 its object key and metadata, written last: it makes it ready

Requests only put a record on a bounded queue; one thread writes, closes by age or size, and keeps the folder below its
cap by dropping the oldest segments. Everything that is dropped is counted.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from dataplane.contracts import ContractError, TrafficPolicy, TrafficRecord, canonical_json, from_dict
from dataplane.stamps import timestamp

log = logging.getLogger(__name__)

MAX_END_USERS = 24  # named in a segment's metadata, which S3 limits to 2 KB; "*": more, look inside


@dataclass(frozen=True, slots=True)
class ReadySegment:
    """A closed segment on its way to the bucket."""

    path: Path
    key: str
    metadata: dict[str, str]  # records, tokens, first_timestamp, last_timestamp, consent, end_users

    @property
    def project_id(self) -> str:
        return self.key.split("/")[1]

    @property
    def description(self) -> Path:
        return self.path.with_suffix(".json")

    def remove(self) -> None:
        self.description.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class _OpenSegment:
    path: Path
    project_id: str
    opened_at: float
    consent: TrafficPolicy
    lines: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    num_tokens: int = 0
    first: str = ""
    last: str = ""
    end_users: set[str] = field(default_factory=set)


class TrafficSegments:
    """Writer of this node's segments. `record` is called by requests, `run` by one thread."""

    def __init__(
        self,
        folder: Path,
        *,
        node_id: Callable[[], str],
        boot_id: str,
        redact: Callable[[TrafficRecord], TrafficRecord | None] = lambda record: record,
        is_leaving: Callable[[str], bool] = lambda project_id: False,
        roll_seconds: float = 15.0,
        roll_bytes: int = 4 << 20,
        cap_bytes: int = 256 << 20,
        queue_size: int = 2048,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ready = folder / "ready"
        self._open_folder = folder / "open"
        for path in (self._ready, self._open_folder):
            path.mkdir(parents=True, exist_ok=True)
        self._node_id = node_id
        self._boot_id = boot_id
        self._redact = redact  # None: the record may not be stored
        self._is_leaving = is_leaving  # the project is moving to other nodes: what is open is closed at once
        self._roll_seconds = roll_seconds
        self._roll_bytes = roll_bytes
        self._cap_bytes = cap_bytes
        self._clock = clock
        self._queue: queue.Queue[TrafficRecord] = queue.Queue(queue_size)
        self._open: dict[str, _OpenSegment] = {}
        self._sequence = 0
        self._dropped = 0
        self._dropped_lock = threading.Lock()
        self._withdrawn: deque[str] = deque()
        self.num_screened = 0  # records that were not kept because they looked sensitive
        self.num_masked = 0  # records in which something was masked

    @property
    def num_dropped(self) -> int:
        """Records that were lost to a full queue, the disk cap or a failing disk."""
        return self._dropped

    @property
    def num_unsent(self) -> int:
        """Records in the queue and segments on the disk that are still to be sent; 0: everything has gone."""
        return self._queue.qsize() + len(self._open) + len(list(self._ready.glob("*.json")))

    def record(self, record: TrafficRecord) -> None:
        """Hand over one record; never blocks."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._drop(1)

    def discard(self, project_id: str) -> None:
        """Consent was withdrawn: what has not been sent is deleted, by the writing thread."""
        self._withdrawn.append(project_id)

    def run(self, stop: threading.Event) -> None:
        """Write until `stop`, then close everything that is open."""
        self._attempt(self.recover)
        while not stop.is_set():
            self._attempt(lambda: self.work(wait_seconds=0.5))
        self._attempt(lambda: self.work(wait_seconds=0.0))
        self._attempt(self.close_all)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Traffic is worth less than the thread that writes it: whatever fails is logged, and the thread goes on."""
        try:
            action()
        except Exception:
            log.exception("traffic segments")

    def recover(self) -> None:
        """Close what a crash left open, under the project that wrote it."""
        for path in sorted(self._open_folder.glob("*/*.jsonl")):
            segment = _OpenSegment(path, path.parent.name, 0.0, TrafficPolicy())
            for line in path.read_bytes().split(b"\n"):
                try:
                    record = from_dict(TrafficRecord, json.loads(line))
                except (ContractError, ValueError):
                    continue  # the torn last line
                segment.consent = record.consent  # one for the whole segment
                self._add(segment, record, line)
            self._close(segment)

    def work(self, *, wait_seconds: float) -> None:
        """Write what is queued, close what is due, keep below the cap."""
        # Counted before the queue is read: what a project queued before it withdrew is then in this batch.
        num_withdrawn = len(self._withdrawn)
        batch = self._take(wait_seconds)
        try:
            for record in batch:
                stored = self._redact(record)
                if stored is None:
                    self.num_screened += 1
                else:
                    self.num_masked += bool(stored.masked)
                    self._write(stored)
            for _ in range(num_withdrawn):
                self._delete(self._withdrawn[0])
                self._withdrawn.popleft()
            now = self._clock()
            for segment in list(self._open.values()):
                is_due = segment.num_bytes >= self._roll_bytes or now - segment.opened_at >= self._roll_seconds
                if is_due or self._is_leaving(segment.project_id):
                    self._close(self._open.pop(segment.project_id))
        except OSError:
            self._drop(sum(len(segment.lines) for segment in self._open.values()))
            self._open.clear()
        self._enforce_cap()

    def close_all(self) -> None:
        while self._open:
            self._close(self._open.popitem()[1])

    def ready(self) -> list[ReadySegment]:
        """Closed segments, oldest first."""
        segments = []
        for path in sorted(self._ready.glob("*.json")):
            try:
                described = json.loads(path.read_text())
            except FileNotFoundError:
                continue  # the other thread (writer or sender) has just removed it
            segments.append(ReadySegment(path.with_suffix(".zst"), described["key"], described["metadata"]))
        return segments

    def _take(self, wait_seconds: float) -> list[TrafficRecord]:
        batch: list[TrafficRecord] = []
        try:
            if wait_seconds:
                batch.append(self._queue.get(timeout=wait_seconds))
            while True:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            return batch

    def _write(self, record: TrafficRecord) -> None:
        segment = self._open.get(record.project_id)
        if segment is not None and segment.consent != record.consent:  # everything in a segment has one consent
            self._close(self._open.pop(record.project_id))
            segment = None
        if segment is None:
            folder = self._open_folder / record.project_id
            folder.mkdir(exist_ok=True)
            self._sequence += 1
            path = folder / f"{self._boot_id}-{self._sequence:08d}.jsonl"
            segment = _OpenSegment(path, record.project_id, self._clock(), record.consent)
            self._open[record.project_id] = segment
        line = canonical_json(record)
        with segment.path.open("ab") as file:
            file.write(line + b"\n")
        self._add(segment, record, line)

    def _add(self, segment: _OpenSegment, record: TrafficRecord, line: bytes) -> None:
        segment.lines.append(line)
        segment.num_bytes += len(line)
        segment.num_tokens += len(record.prompt_tokens) + len(record.output_tokens)
        # Requests are written as they end and dated as they began: a long one is older than what stands before it, and
        # a deletion must see that.
        segment.first = min(segment.first or record.created_at, record.created_at)
        segment.last = max(segment.last, record.created_at)
        if record.end_user_id:
            segment.end_users.add(record.end_user_id)

    def _close(self, segment: _OpenSegment) -> None:
        if segment.lines:
            name = segment.path.stem  # {boot_id}-{sequence}
            key = f"projects/{segment.project_id}/traffic/{timestamp()[:10]}/{self._node_id()}-{name}.jsonl.zst"
            metadata = {
                "records": str(len(segment.lines)),
                "tokens": str(segment.num_tokens),
                "first_timestamp": segment.first,
                "last_timestamp": segment.last,
                "consent": canonical_json(segment.consent).decode(),
                "end_users": ",".join(sorted(segment.end_users)) if len(segment.end_users) <= MAX_END_USERS else "*",
            }
            data = zstandard.ZstdCompressor(level=3).compress(b"\n".join(segment.lines) + b"\n")
            ready = ReadySegment(self._ready / f"{time.time_ns():020d}.zst", key, metadata)
            ready.path.write_bytes(data)
            temporary = ready.path.with_suffix(".new")
            temporary.write_text(json.dumps({"key": key, "metadata": metadata}))
            temporary.replace(ready.description)
        segment.path.unlink(missing_ok=True)

    def _delete(self, project_id: str) -> None:
        self._open.pop(project_id, None)
        for path in (self._open_folder / project_id).glob("*.jsonl"):  # also what a full disk left behind
            path.unlink(missing_ok=True)
        for ready in self.ready():
            if ready.project_id == project_id:
                ready.remove()

    def _enforce_cap(self) -> None:
        segments = self.ready()
        sizes = [_size_of(segment.path) for segment in segments]
        excess = sum(sizes) - self._cap_bytes
        for segment, size in zip(segments, sizes, strict=True):
            if excess <= 0:
                return
            segment.remove()
            excess -= size
            self._drop(int(segment.metadata["records"]))

    def _drop(self, count: int) -> None:
        with self._dropped_lock:
            self._dropped += count


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # sent meanwhile
