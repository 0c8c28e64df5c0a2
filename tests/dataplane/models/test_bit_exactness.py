"""A row's logits are the same bits whatever shares its forward: what makes greedy speculation exactly lossless."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from dataplane.models.attention import Span
from dataplane.models.generate import prefill
from dataplane.models.kv_cache import NUM_ASIDE, KvCache
from dataplane.models.llama import LlamaModel
from tests.tiny_llama import tiny_llama, tiny_native

ROW_COUNTS = [1, 1, 2, 3, 5, 8, 9, 12, 16]


def forward(
    model: LlamaModel, cache: KvCache, items: list[tuple[int, int, list[int]]], others: list[list[int]] | None = None
) -> list[torch.Tensor]:
    """Logits of each (slot, start, tokens), and of its alternatives to the second token."""
    others = others or [[] for _ in items]
    spans = [
        Span(slot, start, len(tokens), len(beside)) for (slot, start, tokens), beside in zip(items, others, strict=True)
    ]
    plan = model.plan(spans, cache)
    rows = [token for (_, _, tokens), beside in zip(items, others, strict=True) for token in (*tokens, *beside)]
    hidden, _ = model.forward(torch.tensor(rows), plan, cache)
    return list(model.logits(hidden).split([span.count + span.alternatives for span in spans]))


def check(model: LlamaModel, *, first: int, last: int, trials: int, seed: int, tolerance: float) -> None:
    """Walk random texts from position `first` to `last` in random strides and batches; compare with one by one."""
    choose = random.Random(seed)
    texts = [[choose.randrange(model.config.vocab_size) for _ in range(last)] for _ in range(2)]
    expected = []
    for text in texts:
        cache = model.new_cache(1, last)
        slot = cache.allocate()
        list(prefill(model, cache, slot, text[:first]))
        rows = [forward(model, cache, [(slot, position, [text[position]])])[0] for position in range(first, last)]
        expected.append(torch.cat(rows))
    for _ in range(trials):
        cache = model.new_cache(choose.choice([1, 2, 4, 6]), last)
        slots = [cache.allocate() for _ in range(cache.num_slots)]
        which = [choose.randrange(len(texts)) for _ in slots]
        choose.shuffle(slots)
        for slot, text in zip(slots, which, strict=True):
            list(prefill(model, cache, slot, texts[text][:first]))
        positions = [first] * len(slots)
        while min(positions) < last:
            active = [i for i, position in enumerate(positions) if position < last and choose.random() < 0.8]
            strides = [choose.choice(ROW_COUNTS) for _ in active]
            items = [
                (slots[i], positions[i], texts[which[i]][positions[i] : positions[i] + stride])
                for i, stride in zip(active, strides, strict=True)
            ]
            # One of the alternatives is what really comes; the first draft token may be wrong then.
            others: list[list[int]] = [[] for _ in items]
            for i, (_, start, tokens), beside in zip(active, items, others, strict=True):
                if model.native is not None and start + 1 < last and choose.random() < 0.5:
                    beside += [choose.randrange(model.config.vocab_size) for _ in range(choose.randrange(NUM_ASIDE))]
                    beside.insert(choose.randrange(len(beside) + 1), texts[which[i]][start + 1])
                    tokens[1:] = [choose.randrange(model.config.vocab_size) for _ in tokens[1:]]
            results = forward(model, cache, items, others) if items else []
            for i, (slot, start, tokens), beside, logits in zip(active, items, others, results, strict=True):
                if beside:
                    right = beside.index(texts[which[i]][start + 1])
                    assert torch.equal(logits[0], expected[which[i]][start - first])
                    assert torch.equal(logits[len(tokens) + right], expected[which[i]][start + 1 - first])
                    cache.adopt(slot, right, start + 1)
                    positions[i] += 2
                    continue
                reference = expected[which[i]][start - first : start - first + len(tokens)]
                if tolerance:
                    torch.testing.assert_close(logits, reference, rtol=tolerance, atol=tolerance)
                else:
                    assert torch.equal(logits, reference), f"rows {start}..{start + len(tokens)} of {items}"
                positions[i] += choose.randrange(1, len(tokens) + 1)  # the rest was rejected


def test_the_tiny_model_does_not_depend_on_the_batch() -> None:
    check(tiny_llama(), first=117, last=140, trials=3, seed=0, tolerance=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_native_kernels_are_bit_identical_at_any_lookahead_and_batch(threads: int) -> None:
    model = tiny_native()
    if model.native is None:
        pytest.skip(model.kernels)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(model, first=25, last=40, trials=12, seed=threads, tolerance=0.0)  # 32 is a border of key blocks
    finally:
        torch.set_num_threads(before)


@pytest.mark.real_model
@pytest.mark.parametrize(("first", "trials"), [(3, 3), (116, 4), (500, 1)])  # 128 and 512 are borders of key blocks
def test_the_real_model_is_bit_identical_at_any_lookahead_and_batch(real_model: Path, first: int, trials: int) -> None:
    model = LlamaModel.load(real_model, max_context=1024)
    if model.native is None and not model.head.packed:
        pytest.fail(f"bit-exactness is unproven here: {model.kernels}")
    check(model, first=first, last=first + 24, trials=trials, seed=first, tolerance=0.0)
