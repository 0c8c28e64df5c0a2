"""Segments of traffic: their keys, their metadata, and the copy of one that a training child may read."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from dataplane.contracts import TrafficPolicy, from_dict, to_dict

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
    consent: dict[str, Any]  # the policy it was captured under; empty: a node that didn't say
    end_users: list[str] | None  # None: too many to name


@dataclass(slots=True)
class CopyCount:
    """What was copied, and of whom."""

    kept: int = 0
    dropped: int = 0
    consents: Counter[str] = field(default_factory=Counter)  # records by canonical policy
    end_users: set[str] = field(default_factory=set)


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
    named = known.get("end_users", "")
    return SegmentMetadata(
        records,
        tokens,
        first_at.astimezone(UTC),
        last_at.astimezone(UTC),
        _consent(known["consent"]) if "consent" in known else {},
        None if named == "*" else [name for name in named.split(",") if name],
    )


def _consent(text: str) -> dict[str, Any]:
    try:
        policy: dict[str, Any] = to_dict(from_dict(TrafficPolicy, json.loads(text)))
    except ValueError as error:
        raise SegmentError(f"metadata: consent: {error}") from error
    return policy


def listing_start(project_id: str, *, today: date, lookback_days: int) -> str:
    """The key after which new segments can appear: a node that was cut off uploads under the day of its records."""
    return f"{traffic_prefix(project_id)}{today - timedelta(days=lookback_days)}"


def copy_records(source: Path, destination: Path, *, project_id: str, model: str) -> CopyCount:
    """Copy the records of this project and target model; whatever else a segment holds never reaches the child.

    A line that is no such record is dropped and counted. Raises SegmentError when the stream itself is broken.
    """
    count = CopyCount()
    compressor = zstandard.ZstdCompressor(level=1)
    with destination.open("wb") as file, compressor.stream_writer(file) as out:
        for line in lines(source):
            record = read_record(line)
            if record.get("project_id") != project_id or record.get("model") != model:
                count.dropped += 1
                continue
            out.write(line + b"\n")
            count.kept += 1
            count.consents[json.dumps(record.get("consent") or {}, sort_keys=True)] += 1
            if end_user := record.get("end_user_id"):
                count.end_users.add(str(end_user))
    return count


def remove_records(source: Path, destination: Path, *, is_removed: Callable[[dict[str, Any]], bool]) -> Rewritten:
    """Copy all but the removed records, whatever else they are. Raises SegmentError."""
    rewritten = Rewritten()
    compressor = zstandard.ZstdCompressor(level=3)
    with destination.open("wb") as file, compressor.stream_writer(file) as out:
        for line in lines(source):
            record = read_record(line)
            if is_removed(record):
                rewritten.removed += 1
                continue
            out.write(line + b"\n")
            rewritten.kept += 1
            rewritten.tokens += sum(len(record.get(name) or ()) for name in ("prompt_tokens", "output_tokens"))
            if end_user := record.get("end_user_id"):
                rewritten.end_users.add(str(end_user))
    return rewritten


@dataclass(slots=True)
class Rewritten:
    """A segment after records were removed from it."""

    kept: int = 0
    removed: int = 0
    tokens: int = 0
    end_users: set[str] = field(default_factory=set)


def lines(source: Path) -> Iterator[bytes]:
    """The lines of a compressed segment. Raises SegmentError."""
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


def read_record(line: bytes) -> dict[str, Any]:
    """The fields of a record; empty if the line is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
