"""Batched tenant deltas and the choice among hot tokens equal their references, for any shapes, ranks and mixtures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spec_kernels.deltas import DeltaTable, add_deltas, add_deltas_reference
from spec_kernels.fused import launch_kernel
from spec_kernels.hot import choose_hot, choose_hot_reference

TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def low_rank(rank: int, inner: int, outer: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rank)
    down, up = torch.randn(rank, inner, generator=generator), torch.randn(outer, rank, generator=generator)
    return (down / inner**0.5).to(dtype), (up / rank**0.5).to(dtype)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize(("inner", "outer"), [(41, 401), (129, 64), (64, 1271)])
def test_every_row_gets_its_own_delta_and_rows_without_one_stay(dtype: torch.dtype, inner: int, outer: int) -> None:
    generator = torch.Generator().manual_seed(inner)
    deltas = [low_rank(rank, inner, outer, dtype) for rank in (1, 8, 13, 64)]
    table = DeltaTable(5, inner, outer, dtype=dtype, device=torch.device("cpu"))
    table.fill(dict(enumerate(deltas)))
    slots = [2, -1, 0, 3, 2, 1, -1]
    inputs = torch.randn(len(slots), inner, generator=generator).to(dtype)
    outputs = torch.randn(len(slots), outer, generator=generator).to(dtype)
    actual = outputs.clone()
    add_deltas(actual, inputs, torch.tensor(slots, dtype=torch.int32), table, part=64)
    expected = add_deltas_reference(outputs, inputs, slots, lambda slot: deltas[slot])
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    for row in (1, 6):
        assert torch.equal(actual[row], outputs[row])
    alone = outputs[4:5].clone()
    add_deltas(alone, inputs[4:5], torch.tensor([2], dtype=torch.int32), table, part=64)
    assert torch.equal(alone[0], actual[4]), "a row's sums depend on it alone"


def test_a_slot_is_swapped_between_launches_and_an_empty_one_does_nothing() -> None:
    table = DeltaTable(2, 32, 48, dtype=torch.float32, device=torch.device("cpu"))
    first, second = low_rank(4, 32, 48, torch.float32), low_rank(16, 32, 48, torch.float32)
    inputs, slots = torch.randn(1, 32), torch.tensor([1], dtype=torch.int32)
    for delta in (None, first, second, None):
        table.put(1, delta)
        outputs = torch.zeros(1, 48)
        add_deltas(outputs, inputs, slots, table)
        if delta is None:
            assert not outputs.any()
        else:
            torch.testing.assert_close(
                outputs, add_deltas_reference(torch.zeros(1, 48), inputs, [1], [first, delta].__getitem__)
            )


def test_a_delta_that_does_not_fit_is_refused() -> None:
    table = DeltaTable(1, 8, 8, dtype=torch.float32, device=torch.device("cpu"))
    down, up = torch.zeros(2, 8), torch.zeros(8, 2)
    for wrong in (
        (down, up[:7]),
        (down.bfloat16(), up),
        (torch.zeros(65, 8), torch.zeros(8, 65)),
        (down, up.T.contiguous().T),
    ):
        with pytest.raises(ValueError):
            table.put(0, wrong)
    with pytest.raises(ValueError):
        add_deltas(torch.zeros(1, 8), torch.zeros(1, 9), torch.zeros(1, dtype=torch.int32), table)


def test_deltas_take_two_launches_and_ask_the_device_nothing() -> None:
    launched = []
    table = DeltaTable(3, 32, 48, dtype=torch.bfloat16, device=torch.device("meta"))
    inputs = torch.empty(9, 32, dtype=torch.bfloat16, device="meta")
    outputs = torch.empty(9, 48, dtype=torch.bfloat16, device="meta")
    slots = torch.empty(9, dtype=torch.int32, device="meta")
    add_deltas(outputs, inputs, slots, table, launch=lambda kernel, grid, *_, **__: launched.append(grid))
    assert len(launched) == 2


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 3),
    vocabulary=st.integers(1, 300),
    count=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    mapped=st.booleans(),
    spread=st.sampled_from([0.0, 1.0, 8.0]),
    seed=st.integers(0, 1000),
)
def test_the_likeliest_hot_tokens_and_their_confidence_equal_the_reference(
    rows: int, vocabulary: int, count: int, dtype: torch.dtype, mapped: bool, spread: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(rows, vocabulary, generator=generator) * spread).to(dtype)
    temperatures = torch.rand(rows, generator=generator) + 0.5
    hot = torch.randperm(vocabulary * 3, generator=generator)[:vocabulary].sort().values if mapped else None
    count = min(count, vocabulary)
    actual = choose_hot(logits, temperatures, hot, count=count, block=64)
    expected = choose_hot_reference(logits, temperatures, hot, count=count)
    assert torch.equal(actual.tokens, expected.tokens)
    for name in ("probs", "entropy", "margin"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), rtol=2e-5, atol=2e-5)


def test_a_choice_is_one_launch_and_more_than_there_are_is_refused() -> None:
    launched = []

    def counting(*arguments: object, **options: object) -> None:
        launched.append(arguments[0])
        launch_kernel(*arguments, **options)  # type: ignore[arg-type]

    choose_hot(torch.randn(4, 50), torch.ones(4), launch=counting)
    assert len(launched) == 1
    with pytest.raises(ValueError, match="5 choices"):
        choose_hot(torch.randn(1, 4), torch.ones(1), count=5)
