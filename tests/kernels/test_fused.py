"""Fused verification: everything it can be asked, its launches, its distributions, and what it never does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataplane.speculation.types import SamplingParams as Params
from spec_kernels import SamplingBatch, Verification, VerifyOptions, reference, target_probs, verification
from spec_kernels.fused import launch_kernel, verify
from spec_kernels.tables import Adjustments, ChainTables, Layout, SampledDrafts, Workspace, invert_hot_tokens


def compare(
    logits: torch.Tensor,
    chains: Sequence[Sequence[int]],
    params: Sequence[Params],
    draft_probs: Sequence[torch.Tensor | None] | None = None,
    options: VerifyOptions | None = None,
    block: int = 256,
) -> Verification:
    offsets = [0, *itertools.accumulate(len(chain) + 1 for chain in chains)]
    drafts = [token for chain in chains for token in chain]
    outputs, prompts = [[1, 3, 3]] * len(chains), [[2, 5, 5, 10**6]] * len(chains)
    options = replace(options or VerifyOptions(), with_logprobs=True, with_stats=True)
    arguments = (
        logits, drafts, offsets, [3 + 2**33 * index for index in range(len(chains))],
        SamplingBatch.of(params, outputs, prompts), draft_probs,
    )  # fmt: skip
    expected = reference.verify_chains(*arguments, options=options)
    launches = []

    def counting(kernel: Any, *arguments: Any, **constants: Any) -> None:
        launches.append(kernel)
        launch_kernel(kernel, *arguments, **constants)

    actual = verification.verify_chains(*arguments, options=options, block=block, launch=counting)
    assert len(launches) == 3
    assert actual.emitted() == expected.emitted()
    for field in fields(Verification):
        one, other = getattr(actual, field.name), getattr(expected, field.name)
        assert (one is None) == (other is None), field.name
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-5)
    return actual


def pack_mask(allowed: torch.Tensor) -> torch.Tensor:  # bool [R, V] -> int32 [R, V / 32]
    padded = torch.nn.functional.pad(allowed.long(), (0, -allowed.shape[1] % 32)).view(len(allowed), -1, 32)
    words = (padded << torch.arange(32)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_batch_is_judged_as_the_reference_judges_it(data: st.DataObject) -> None:
    draw = data.draw
    vocabulary = draw(st.sampled_from([1, 41, 401, 1271]))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    dtype = draw(st.sampled_from([torch.bfloat16, torch.float16, torch.float32]))
    num_rows = sum(lengths) + len(lengths)
    logits = (torch.randn(num_rows, vocabulary, generator=generator) * 3).to(dtype)
    best, row, chains = logits.argmax(-1).tolist(), 0, []
    for length in lengths:
        chains.append([draw(st.sampled_from([best[row + i], 1, vocabulary])) for i in range(length)])
        row += length + 1
    hot = None
    if draw(st.booleans()) and vocabulary > 1:
        hot = torch.randperm(vocabulary, generator=generator)[: vocabulary // 2].sort().values
    width = vocabulary if hot is None else len(hot)
    params, probs = [], []
    for length in lengths:
        params.append(
            Params(
                temperature=draw(st.sampled_from([0.0, 0.7, 1.0, 1.6])),
                top_k=draw(st.sampled_from([0, 1, 7, 60])),
                top_p=draw(st.sampled_from([1.0, 0.9, 0.35])),
                min_p=draw(st.sampled_from([0.0, 0.03])),
                seed=draw(st.integers(0, 2**64 - 1)),
                presence_penalty=draw(st.sampled_from([0.0, 0.7])),
                frequency_penalty=draw(st.sampled_from([0.0, -0.4])),
                repetition_penalty=draw(st.sampled_from([1.0, 1.3])),
                logit_bias=draw(st.sampled_from([{}, {0: 2.5, 10**6: 1.0}])),
            )
        )
        sampled = torch.softmax(torch.randn(length, width, generator=generator) * 3, -1)
        probs.append(sampled if draw(st.booleans()) else None)
    masks = None
    if draw(st.booleans()):
        allowed = torch.rand(num_rows, vocabulary, generator=generator) < 0.6
        allowed[:, 0] = True
        masks = pack_mask(allowed)
    options = VerifyOptions(
        cutoffs=draw(st.none() | st.lists(st.integers(0, 4), min_size=len(lengths), max_size=len(lengths))),
        masks=masks,
        draft_ids=None if hot is None else invert_hot_tokens(hot, vocabulary),
        sources=draw(st.none() | st.just(list(range(sum(lengths))))),
    )
    compare(logits, chains, params, probs, options)


def test_a_cut_off_chain_emits_what_a_shorter_one_would() -> None:
    logits = torch.zeros(5, 41)
    for row, token in enumerate((4, 7, 9, 2, 6)):
        logits[row, token] = 5
    whole = compare(logits, [[4, 7, 9, 2]], [Params()], options=VerifyOptions(sources=[3, 3, 1, 1]))
    cut = compare(logits, [[4, 7, 9, 2]], [Params()], options=VerifyOptions(cutoffs=[2], sources=[3, 3, 1, 1]))
    assert whole.emitted() == [[4, 7, 9, 2, 6]]
    assert cut.emitted() == [[4, 7, 9]]
    assert cut.source is not None and cut.source.tolist() == [3, 3, -1, -1]


def test_a_grammar_decides_what_may_be_emitted() -> None:
    logits = torch.arange(64.0).repeat(2, 1)
    allowed = torch.zeros(2, 64, dtype=torch.bool)
    allowed[0, [3, 31]] = True
    allowed[1, [0, 63]] = True
    options = VerifyOptions(masks=pack_mask(allowed))
    assert compare(logits, [[31]], [Params()], options=options).emitted() == [[31, 63]]
    assert compare(logits, [[62]], [Params(temperature=1.0)], options=options).emitted() == [[31]]


def test_masks_cutoffs_and_sources_of_another_shape_are_refused() -> None:
    for options in (
        VerifyOptions(masks=torch.zeros(2, 1, dtype=torch.int32)),
        VerifyOptions(cutoffs=[1, 1]),
        VerifyOptions(cutoffs=[-1]),
        VerifyOptions(sources=[1]),
        VerifyOptions(draft_ids=torch.zeros(64)),
    ):
        with pytest.raises(ValueError):
            compare(torch.zeros(3, 64), [[1, 2]], [Params()], options=options)
    with pytest.raises(ValueError, match="repetition"):
        SamplingBatch.of([Params(repetition_penalty=0.0)], [[]], [[]])
    with pytest.raises(ValueError, match="prompts"):
        SamplingBatch.of([Params(repetition_penalty=1.2)], [[]])


PLAIN = Params(temperature=1.0)
PENALISED = Params(temperature=1.3, repetition_penalty=1.2, presence_penalty=0.3, logit_bias={2: -100.0})


@pytest.mark.parametrize(
    ("params", "kind"),
    [(PLAIN, "deterministic"), (PLAIN, "sampled"), (PENALISED, "hot vocabulary")],
    ids=["deterministic", "sampled", "hot vocabulary"],
)
def test_the_kernels_output_has_the_targets_distribution(params: Params, kind: str) -> None:
    """Many sequences in one batch that differ by their seed and their draft only."""
    vocabulary, count = 9, 150
    generator = torch.Generator().manual_seed(5)
    row = torch.randn(vocabulary, generator=generator) * 1.5
    hot = torch.tensor([0, 2, 3, 7]) if kind == "hot vocabulary" else torch.arange(vocabulary)
    draft_probs = torch.softmax(torch.randn(len(hot), generator=generator), -1)
    drafts = hot[torch.multinomial(draft_probs, count, replacement=True, generator=generator)]
    options = VerifyOptions(draft_ids=invert_hot_tokens(hot, vocabulary) if kind == "hot vocabulary" else None)
    result = verification.verify_chains(
        row.bfloat16().repeat(2 * count, 1),
        drafts,
        list(range(0, 2 * count + 1, 2)),
        [7] * count,
        SamplingBatch.of([replace(params, seed=seed) for seed in range(count)], [[4]] * count, [[1]] * count),
        None if kind == "deterministic" else [draft_probs[None]] * count,
        options=options,
    )
    probs = target_probs(row.bfloat16(), params, {4: 1}, [1])  # type: ignore[arg-type]
    counts = torch.bincount(result.tokens[:, 0], minlength=vocabulary)
    possible = probs > 0
    assert not counts[~possible].any()
    assert stats.chisquare(counts[possible], probs[possible] * count).pvalue > 0.001


def fixed_tables(batch: int, drafts: int, vocabulary: int, device: str) -> tuple[ChainTables, Layout]:
    """Tables of a fixed shape, as a captured graph has them, with every part of the kernels in use."""

    def zeros(dtype: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    layout = Layout(
        num_rows=batch * (drafts + 1), batch=batch, vocabulary=vocabulary, width=drafts + 1,
        adjusts=True, statistics=True, logprobs=True, chunk=256, sub=16,
    )  # fmt: skip
    per_sequence = {name: zeros(torch.int64, batch) for name in ("positions", "seeds", "top_ks")}
    adjustments = Adjustments(
        is_adjusted=zeros(torch.int32, batch),
        penalties=zeros(torch.float64, 3, batch),
        offsets=zeros(torch.int32, batch * layout.num_chunks + 1),
        tokens=zeros(torch.int32, 16),
        biases=zeros(torch.float64, 16),
        counts=zeros(torch.int32, 16),
        seen=zeros(torch.int32, 16),
        masks=zeros(torch.int32, layout.num_rows, -(-vocabulary // 32)),
    )
    tables = ChainTables(
        drafts=zeros(torch.int64, batch * drafts),
        offsets=torch.arange(batch + 1, device=device) * (drafts + 1),
        cutoffs=zeros(torch.int64, batch) + drafts,
        temperatures=zeros(torch.float64, batch),
        top_ps=zeros(torch.float64, batch) + 1,
        min_offsets=zeros(torch.float64, batch) - float("inf"),
        sources=zeros(torch.int32, batch * drafts),
        sampled=SampledDrafts(zeros(torch.float32, batch * drafts, 11), zeros(torch.int64, batch) - 1),
        adjustments=adjustments,
        **per_sequence,
    )
    return tables, layout


def test_an_accept_step_is_three_launches_and_asks_the_device_nothing() -> None:
    """On the meta device a tensor has no content: whatever waited for the device, or copied from it, would raise."""
    tables, layout = fixed_tables(128, 8, 152_064, "meta")
    launches = []
    logits = torch.empty(layout.num_rows, layout.vocabulary, dtype=torch.bfloat16, device="meta")
    space = Workspace.allocate(layout, torch.device("meta"))
    verify(logits, tables, layout, space, launch=lambda kernel, grid, *_, **__: launches.append(grid))
    assert launches == [(1152, layout.num_chunks), (1152,), (128,)]


def test_one_layout_serves_step_after_step_when_only_contents_change() -> None:
    """As a captured graph replays it: the same launches, other chains, lengths, sampling and unused rows."""
    tables, layout = fixed_tables(3, 2, 401, "cpu")
    space = Workspace.allocate(layout, torch.device("cpu"))
    generator = torch.Generator().manual_seed(9)
    for lengths, temperature in (([2, 2, 2], 0.0), ([0, 2, 1], 0.9), ([1, 0, 0], 1.4)):
        logits = torch.randn(layout.num_rows, 401, generator=generator) * 3
        offsets = [0, *itertools.accumulate(length + 1 for length in lengths)]
        drafts = [int(logits[row].argmax()) for i in range(3) for row in range(offsets[i], offsets[i + 1] - 1)]
        tables.offsets.copy_(torch.tensor(offsets))
        tables.drafts[: len(drafts)] = torch.tensor(drafts, dtype=torch.int64)
        tables.temperatures.fill_(temperature)
        tables.top_ks.copy_(torch.tensor([0, 5, 0]))
        tables.seeds.copy_(torch.tensor([1, 2, 3]))
        verify(logits, tables, layout, space)
        params = [Params(temperature=temperature, top_k=k, seed=s) for k, s in ((0, 1), (5, 2), (0, 3))]
        expected = reference.verify_chains(
            logits[: offsets[-1]], drafts, offsets, [0] * 3, SamplingBatch.of(params), with_logprobs=True
        )
        width = expected.tokens.shape[1]
        assert torch.equal(space.num_accepted, expected.num_accepted)
        assert torch.equal(space.tokens[:, :width], expected.tokens)
        assert bool((space.tokens[:, width:] == -1).all())
        assert expected.logprobs is not None
        torch.testing.assert_close(space.logprobs[:, :width], expected.logprobs, rtol=1e-5, atol=2e-5)


def test_logits_that_the_layout_does_not_fit_are_refused() -> None:
    tables, layout = fixed_tables(3, 2, 401, "cpu")
    space = Workspace.allocate(layout, torch.device("cpu"))
    for logits in (torch.zeros(8, 401), torch.zeros(9, 401, dtype=torch.float64), torch.zeros(401, 9).T):
        with pytest.raises(ValueError, match="logits"):
            verify(logits, tables, layout, space)
