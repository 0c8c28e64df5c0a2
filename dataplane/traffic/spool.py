"""The usage spool: events that outlive any crash, until the control plane says that it has them.

    usage/{boot_id}-{first_seq:012d}.log     one line per event: CRC-32 of the rest (8 hex digits), space, JSON
    usage/{boot_id}.ack                      the acknowledged sequence number, a hint: losing it only sends twice

`append` returns when the event is on disk (fsync); concurrent appends share one fsync. A write that fails leaves its
event pending, with no sequence number taken; the next append or `flush` tries again, in a new file. A file's own first
number wins over what an older file claims at that place, so a line whose fsync failed is never sent in two versions.
A torn last line (a crash in mid-write) was never acknowledged to anybody and is ignored.
"""

from __future__ import annotations

import json
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from dataplane.contracts import SequencedUsage, UsageEvent, canonical_json, from_dict

_FILE = re.compile(r"(?P<boot>.+)-(?P<first>\d{12})\.log")


class SpoolError(Exception):
    """The disk refused an event. It stays pending and is tried again."""


class Disk(Protocol):
    """The I/O calls that the spool makes: the seam at which tests let each of them fail."""

    def open(self, path: Path) -> int: ...
    def write(self, fd: int, data: bytes) -> int: ...
    def fsync(self, fd: int) -> None: ...
    def sync_folder(self, path: Path) -> None: ...


class LocalDisk:
    """The operating system's."""

    def open(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def sync_folder(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    boot_id: str
    first_seq: int


class UsageSpool:
    """This boot's writer and every boot's reader. Safe for use from several threads."""

    def __init__(self, folder: Path, boot_id: str, *, disk: Disk | None = None, roll_events: int = 1000) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._boot_id = boot_id
        self._disk = disk or LocalDisk()
        self._roll_events = roll_events
        self._pending: list[UsageEvent] = []
        self._pending_lock = threading.Lock()
        self._io_lock = threading.Lock()
        self._fd: int | None = None
        self._events_in_file = 0
        self._next_seq = 1
        self._acknowledged: dict[str, int] = {}
        # Files of earlier boots never change: their last number is read once.
        self._leftover_last_seq = {
            boot: max((entry.seq for entry in _read_segment(segments[-1].path)), default=segments[-1].first_seq - 1)
            for boot, segments in self._segments().items()
        }

    def append(self, event: UsageEvent) -> None:
        """Make `event` durable. Raises SpoolError when the disk refuses; then the event stays pending."""
        with self._pending_lock:
            self._pending.append(event)
        self.flush()

    def flush(self) -> None:
        """Write whatever is pending. Raises SpoolError."""
        with self._io_lock:
            with self._pending_lock:
                batch = list(self._pending)
            if not batch:
                return  # another thread's flush has carried ours
            try:
                self._write(batch)
            except OSError as error:
                self._abandon_file()
                raise SpoolError(f"usage spool: {error}") from error
            with self._pending_lock:
                del self._pending[: len(batch)]

    def unacknowledged(self, limit: int, *, after: Mapping[str, int] | None = None) -> list[SequencedUsage]:
        """The oldest durable events that were not acknowledged, of one boot at a time, in order.

        `after`: for each boot, a number up to which they were sent already in this round.
        """
        for boot_id, segments in self._segments().items():
            start = max(self._acknowledged_seq(boot_id), (after or {}).get(boot_id, 0))
            if batch := list(islice(self._read_boot(segments, after=start), limit)):
                return batch
        return []

    def acknowledge(self, boot_id: str, seq: int) -> None:
        """The control plane has all of `boot_id` up to `seq`: forget it. Going backwards is ignored."""
        if seq <= self._acknowledged_seq(boot_id):
            return
        with self._io_lock:  # no file may be opened at a path that is being removed
            self._acknowledged[boot_id] = seq
            if boot_id == self._boot_id and seq >= self._next_seq - 1:
                self._abandon_file()  # the next event starts a new file; this one can go
            segments = self._segments().get(boot_id, [])
            for segment, following in zip(segments, [*segments[1:], None], strict=True):
                last = self._last_seq(boot_id) if following is None else following.first_seq - 1
                if last <= seq:
                    segment.path.unlink(missing_ok=True)
            if boot_id != self._boot_id and seq >= self._last_seq(boot_id):
                self._ack_path(boot_id).unlink(missing_ok=True)
            else:
                temporary = self._folder / f"{boot_id}.ack.new"
                temporary.write_text(str(seq))
                temporary.replace(self._ack_path(boot_id))

    def size(self) -> int:
        """Events on disk or pending that were not acknowledged."""
        boots = {self._boot_id, *self._leftover_last_seq}
        on_disk = sum(max(0, self._last_seq(boot_id) - self._acknowledged_seq(boot_id)) for boot_id in boots)
        return on_disk + len(self._pending)

    def close(self) -> None:
        with self._io_lock:
            self._abandon_file()

    # -------------------------------------------------------------------------------------------------- writing

    def _write(self, batch: list[UsageEvent]) -> None:
        """Write and fsync `batch`; the sequence moves on only when all of it is durable."""
        if self._fd is not None and self._events_in_file >= self._roll_events:
            self._abandon_file()
        if self._fd is None:
            self._fd = self._open_file()
        first = self._next_seq
        data = b"".join(_line(SequencedUsage(self._boot_id, first + index, event)) for index, event in enumerate(batch))
        while data:
            data = data[self._disk.write(self._fd, data) :]
        self._disk.fsync(self._fd)
        self._next_seq += len(batch)
        self._events_in_file += len(batch)

    def _open_file(self) -> int:
        path = self._folder / f"{self._boot_id}-{self._next_seq:012d}.log"
        # Left by a failed write at this very place: nothing in it was ever reported as durable.
        path.unlink(missing_ok=True)
        fd = self._disk.open(path)
        try:
            self._disk.sync_folder(self._folder)
        except OSError:
            os.close(fd)
            raise
        self._events_in_file = 0
        return fd

    def _abandon_file(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    # -------------------------------------------------------------------------------------------------- reading

    def _segments(self) -> dict[str, list[_Segment]]:
        """Files by boot, in order of their first number; this boot last, so that leftovers are sent first."""
        found: dict[str, list[_Segment]] = {}
        for path in sorted(self._folder.glob("*.log")):
            if match := _FILE.fullmatch(path.name):
                found.setdefault(match["boot"], []).append(_Segment(path, match["boot"], int(match["first"])))
        if self._boot_id in found:
            found[self._boot_id] = found.pop(self._boot_id)
        return found

    def _read_boot(self, segments: list[_Segment], after: int) -> Iterator[SequencedUsage]:
        for segment, following in zip(segments, [*segments[1:], None], strict=True):
            if segment.boot_id == self._boot_id:
                end = self._next_seq  # beyond it: written, but not known to be durable
            else:
                end = 1 << 62
            if following is not None:
                end = min(end, following.first_seq)
            if end - 1 <= after:
                continue
            for entry in _read_segment(segment.path):
                if after < entry.seq < end:
                    yield entry

    def _last_seq(self, boot_id: str) -> int:
        return self._next_seq - 1 if boot_id == self._boot_id else self._leftover_last_seq.get(boot_id, 0)

    def _ack_path(self, boot_id: str) -> Path:
        return self._folder / f"{boot_id}.ack"

    def _acknowledged_seq(self, boot_id: str) -> int:
        if boot_id not in self._acknowledged:
            try:
                self._acknowledged[boot_id] = int(self._ack_path(boot_id).read_text())
            except (OSError, ValueError):
                self._acknowledged[boot_id] = 0
        return self._acknowledged[boot_id]


def acknowledge_all(spool: UsageSpool, acknowledged: Mapping[str, int]) -> None:
    """Apply the control plane's answer."""
    for boot_id, seq in acknowledged.items():
        spool.acknowledge(boot_id, seq)


def _line(entry: SequencedUsage) -> bytes:
    data = canonical_json(entry)
    return b"%08x " % zlib.crc32(data) + data + b"\n"


def _read_segment(path: Path) -> Iterator[SequencedUsage]:
    """The lines whose checksum holds."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return  # acknowledged and removed meanwhile
    for line in data.split(b"\n"):
        checksum, _, payload = line.partition(b" ")
        if payload and checksum == b"%08x" % zlib.crc32(payload):
            yield from_dict(SequencedUsage, json.loads(payload))
