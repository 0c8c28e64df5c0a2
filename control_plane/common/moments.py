"""Times as nodes write them."""

from __future__ import annotations

from datetime import datetime

_YEARS = range(2020, 2101)


def read_moment(text: str) -> datetime:
    """An RFC 3339 time with its zone, of this century. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    if moment.year not in _YEARS:
        raise ValueError(f"{text!r} is not of our time")
    return moment
