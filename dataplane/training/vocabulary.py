"""How large the hot vocabulary should be: what each size covers, and what a draft then costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dataplane.speculation.drafters.checkpoint import EagleCheckpoint, EagleConfig, vocabulary_maps
from dataplane.speculation.drafters.eagle import EagleDrafter
from dataplane.training.corpus import GENERATED, read_shard, shard_paths
from dataplane.training.evaluate import ReplaySequence, Request

CHAIN = 4  # drafts per timed chain
COMMITTED = 100  # positions behind it


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One line of the table."""

    size: int
    heldout_coverage: float  # share of the held-out generated tokens that the vocabulary holds
    microseconds: float  # per drafted token, the quickest of the chains, at batch 1
    head_megabytes: float  # as stored, bf16


def ranking(
    folder: Path, prompts: Iterable[Sequence[int]], heldout: Sequence[str], target_vocab_size: int
) -> list[int]:
    """All token ids, the most frequent first, by the counts that `fit.hot_vocabulary` uses, without held-out shards."""
    counts = torch.zeros(target_vocab_size, dtype=torch.int64)
    for path in shard_paths(folder):
        if path.name not in heldout:
            for example in read_shard(path):
                counts += 4 * torch.bincount(example.tokens[example.num_prompt_tokens :], minlength=target_vocab_size)
    for prompt in prompts:
        counts += torch.bincount(torch.tensor(prompt, dtype=torch.int64), minlength=target_vocab_size)
    order: list[int] = torch.argsort(counts, descending=True, stable=True).tolist()
    return order


def table(
    folder: Path,
    order: Sequence[int],  # `ranking`
    heldout: Sequence[str],
    config: EagleConfig,
    embeddings: torch.Tensor,  # [V, H]
    sizes: Sequence[int],
    clock: Callable[[], float] = time.perf_counter,
) -> list[SizeRow]:
    """A row for each of `sizes`; times are of random weights, taken in turns so that they compare."""
    generated = torch.cat(
        [
            example.tokens[example.num_prompt_tokens :]
            for path in shard_paths(folder, GENERATED)
            if path.name in heldout
            for example in read_shard(path)
        ]
    )
    drafters = [_random_drafter(config, embeddings, order[:size]) for size in sizes]
    prompt = (1,) * (COMMITTED + 1)
    sequence = ReplaySequence(Request(prompt, CHAIN), slot=0, deployment_id="", tokens=list(prompt))
    features = torch.zeros(COMMITTED, len(config.feature_layers) * config.hidden_size, dtype=embeddings.dtype)
    for drafter in drafters:
        drafter.extend(sequence, 0, sequence.tokens[1:], features)
    times: list[list[float]] = [[] for _ in sizes]
    for _ in range(15):
        for drafter, kept in zip(drafters, times, strict=True):
            started = clock()
            drafter.propose([sequence], [CHAIN])
            kept.append((clock() - started) / CHAIN)
    return [
        SizeRow(
            size,
            float(torch.isin(generated, torch.tensor(order[:size])).float().mean()),
            1e6 * min(kept),
            2e-6 * size * config.hidden_size,
        )
        for size, kept in zip(sizes, times, strict=True)
    ]


def _random_drafter(config: EagleConfig, embeddings: torch.Tensor, hot: Sequence[int]) -> EagleDrafter:
    sized = replace(config, draft_vocab_size=len(hot))
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: 0.02 * torch.randn(shape, generator=generator)
        for name, shape in sized.shapes().items()
        if name not in ("d2t", "t2d")
    }
    maps = vocabulary_maps(torch.tensor(sorted(hot)), config.target_vocab_size)
    checkpoint = EagleCheckpoint(sized, {**tensors, **maps}, "")
    return EagleDrafter(checkpoint, embeddings, num_slots=1, max_context=COMMITTED + 1, min_survival=0.0)
