"""Typed identifiers over UUIDv7 and RFC 3339 timestamps: what every logged value carries."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime


def new_id(prefix: str) -> str:
    """`prefix_` and a UUIDv7 (RFC 9562): unique, and ordered by time of creation to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return f"{prefix}_{uuid.UUID(int=value).hex}"


def timestamp(seconds: float | None = None) -> str:
    """UTC in RFC 3339 with microseconds; `seconds` since the epoch, default now."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """An RFC 3339 timestamp as an aware datetime. Raises ValueError; a naive time is taken as UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
