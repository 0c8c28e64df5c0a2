from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing import sequence

NUMBERS = st.lists(st.integers(min_value=1, max_value=40))


def _members(ranges: sequence.Ranges) -> set[int]:
    return {number for start, end in ranges for number in range(start, end)}


@given(st.lists(NUMBERS))
def test_ranges_hold_what_was_added_whatever_the_order_and_the_batches(batches: list[list[int]]) -> None:
    ranges: sequence.Ranges = []
    for batch in batches:
        ranges = sequence.add(ranges, batch)
    everything = {number for batch in batches for number in batch}
    assert _members(ranges) == everything
    assert all(earlier[1] < later[0] for earlier, later in itertools.pairwise(ranges))


@given(NUMBERS)
def test_acknowledged_and_missing_numbers_tell_the_whole_story(numbers: list[int]) -> None:
    ranges = sequence.add([], numbers)
    acknowledged = sequence.contiguous(ranges)
    assert set(range(1, acknowledged + 1)) <= set(numbers)
    assert acknowledged + 1 not in numbers
    assert _members(sequence.gaps(ranges)) == set(range(1, max(numbers, default=0) + 1)) - set(numbers)
