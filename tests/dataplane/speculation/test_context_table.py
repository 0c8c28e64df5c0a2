"""Context tables: compiled code and specification agree to the byte; growing, fading and storing lose nothing."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpu_kernels.tables import load_tables
from dataplane.speculation.drafters.context_table import (
    ERA_BITS,
    ContextTable,
    context_keys,
    learn,
    mix,
    propose,
)

TEXTS = st.lists(st.one_of(st.integers(0, 6), st.integers(0, 50_000)), min_size=1, max_size=300)


def pair(native: bool) -> tuple[ContextTable, ContextTable]:
    """A small table, which overflows, and a larger one, which grows."""
    return ContextTable(2_048, native=native), ContextTable(1 << 20, native=native)


@pytest.mark.skipif(load_tables() is None, reason="no compiler")
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=6), begin=st.integers(0, 400), candidates=TEXTS, kappa=st.floats(0.1, 9)
)
@settings(max_examples=60, deadline=None)
def test_compiled_and_plain_python_agree_to_the_byte(
    texts: list[list[int]], begin: int, candidates: list[int], kappa: float
) -> None:
    fast, plain = pair(native=True), pair(native=False)
    assert fast[0]._functions is not None
    for text in texts:
        tokens = array("i", text)
        learn(*fast, tokens, 0, begin)
        learn(*plain, tokens, 0, begin)
    assert [table.to_bytes() for table in fast] == [table.to_bytes() for table in plain]
    drafted = list(dict.fromkeys(candidates))[:8]
    probs = [1 / (2 + index) for index in range(len(drafted))]
    for end in range(0, len(texts[0]) + 1, 7):
        window = array("i", texts[0][max(0, end - 24) : end])
        for shared in (0, 1):
            tables = [(one[0], one[1] if shared else None) for one in (fast, plain)]
            assert propose(*tables[0], window, 8) == propose(*tables[1], window, 8)
            assert mix(*tables[0], window, drafted, probs, 0.01, kappa) == mix(
                *tables[1], window, drafted, probs, 0.01, kappa
            )


@pytest.mark.parametrize("native", [True, False])
def test_growing_loses_next_to_nothing(native: bool) -> None:
    table = ContextTable(1 << 22, native=native)
    tokens = array("i", range(1, 3_000))  # every context is new
    learn(table, None, tokens, 0, len(tokens))
    assert table.num_bytes > 1 << 19
    known = [table.recall(context_keys(tokens[max(0, end - 24) : end])[-1]) for end in range(1, len(tokens))]
    right = sum(one is not None and one[0] == tokens[end] for end, one in enumerate(known, start=1))
    assert right > 0.97 * len(known)


def test_a_habit_that_was_not_seen_for_eras_yields_to_a_new_one() -> None:
    table = ContextTable(1 << 16)
    for _ in range(40):
        table.learn([77], 5)
    table._table.learned += 5 << ERA_BITS
    table.learn([77], 6)
    table.learn([77], 6)
    found = table.recall(77)
    assert found is not None
    assert found[0] == 6


@pytest.mark.parametrize("size", [0, 10, 24, 16_407])
def test_bytes_that_are_no_table_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="context table"):
        ContextTable.from_bytes(ContextTable(1 << 16).to_bytes()[:size], 1 << 16)


def test_a_table_beyond_the_quota_is_refused() -> None:
    table = ContextTable(1 << 20)
    learn(table, None, array("i", range(5_000)), 0, 5_000)
    with pytest.raises(ValueError, match="quota"):
        ContextTable.from_bytes(table.to_bytes(), 1 << 16)


def test_an_unknown_context_mixes_nothing() -> None:
    table = ContextTable(1 << 16)
    assert mix(table, None, array("i", [1, 2, 3]), [4, 5], [0.6, 0.3], 0.01, 2.0) is None
