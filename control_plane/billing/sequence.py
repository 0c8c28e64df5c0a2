"""Half-open ranges of sequence numbers: what has arrived, what is missing, what may be acknowledged."""

from __future__ import annotations

from collections.abc import Iterable

Ranges = list[list[int]]  # [[start, end), …], sorted, disjoint, not touching


def add(ranges: Ranges, numbers: Iterable[int]) -> Ranges:
    """The union. Order and repetition of `numbers` don't matter."""
    pieces = sorted([*([start, end] for start, end in ranges), *([number, number + 1] for number in numbers)])
    merged: Ranges = []
    for start, end in pieces:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def contiguous(ranges: Ranges) -> int:
    """The highest number up to which nothing is missing; sequences start at 1, so 0 says that 1 is missing."""
    return ranges[0][1] - 1 if ranges and ranges[0][0] == 1 else 0


def gaps(ranges: Ranges) -> Ranges:
    """The half-open ranges below the highest number that have not arrived."""
    missing, expected = [], 1
    for start, end in ranges:
        if start > expected:
            missing.append([expected, start])
        expected = end
    return missing
