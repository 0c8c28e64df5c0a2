"""Segments of traffic: their keys, their metadata, and the copy of one that a training child may read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import zstandard

MAX_LINE_BYTES = 8 << 20
MAX_SEGMENT_BYTES = 1 << 30  # decompressed: a bomb ends here

_KEY = re.compile(
    r"projects/(?P<project>[^/]+)/traffic/(?P<day>\d{4}-\d{2}-\d{2})/(?P<name>[A-Za-z0-9_.-]+)\.jsonl\.zst"
)


class SegmentError(ValueError):
    """A segment can't be read: a bad key, bad metadata, or a body that is no zstd stream."""


@dataclass(frozen=True, slots=True)
class SegmentMetadata:
    """What the node states about a segment, in the object's metadata."""

    records: int
    tokens: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class CopyCount:
    kept: int
    dropped: int


def traffic_prefix(project_id: str) -> str:
    return f"projects/{project_id}/traffic/"


def segment_day(key: str) -> date:
    """The UTC day in a segment's key. Raises SegmentError."""
    match = _KEY.fullmatch(key)
    try:
        if match is None:
            raise ValueError("unexpected form")
        return date.fromisoformat(match["day"])
    except ValueError as error:
        raise SegmentError(f"{key}: {error}") from error


def read_metadata(metadata: Mapping[str, str]) -> SegmentMetadata:
    """Parse an object's user metadata. Raises SegmentError with the field's name."""

    known = {name.lower().replace("-", "_"): value for name, value in metadata.items()}  # some gateways rewrite "_"

    def field(name: str) -> str:
        if name not in known:
            raise SegmentError(f"metadata lacks {name}")
        return known[name]

    try:
        records, tokens = int(field("records")), int(field("tokens"))
        first_at, last_at = (datetime.fromisoformat(field(name)) for name in ("first_timestamp", "last_timestamp"))
    except SegmentError:
        raise
    except ValueError as error:
        raise SegmentError(f"metadata: {error}") from error
    if records < 0 or tokens < 0 or first_at.tzinfo is None or last_at.tzinfo is None:
        raise SegmentError("metadata: negative counts or times without a zone")
    return SegmentMetadata(records, tokens, first_at.astimezone(UTC), last_at.astimezone(UTC))


def listing_start(project_id: str, *, today: date, lookback_days: int) -> str:
    """The key after which new segments can appear: a node that was cut off uploads under the day of its records."""
    return f"{traffic_prefix(project_id)}{today - timedelta(days=lookback_days)}"


def copy_records(source: Path, destination: Path, *, project_id: str, model: str) -> CopyCount:
    """Copy the records of this project and target model; whatever else a segment holds never reaches the child.

    A line that is no such record is dropped and counted. Raises SegmentError when the stream itself is broken.
    """
    kept = dropped = 0
    compressor = zstandard.ZstdCompressor(level=1)
    with destination.open("wb") as file, compressor.stream_writer(file) as out:
        for line in _lines(source):
            if _belongs(line, project_id=project_id, model=model):
                out.write(line + b"\n")
                kept += 1
            else:
                dropped += 1
    return CopyCount(kept, dropped)


def _lines(source: Path) -> Iterator[bytes]:
    total = 0
    try:
        with (
            source.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as raw,
        ):
            stream = io.BufferedReader(raw, 1 << 16)
            while line := stream.readline(MAX_LINE_BYTES):
                total += len(line)
                if total > MAX_SEGMENT_BYTES:
                    raise SegmentError(f"{source.name}: more than {MAX_SEGMENT_BYTES} bytes")
                if stripped := line.strip():
                    yield stripped
    except zstandard.ZstdError as error:
        raise SegmentError(f"{source.name}: {error}") from error


def _belongs(line: bytes, *, project_id: str, model: str) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("project_id") == project_id and record.get("model") == model
