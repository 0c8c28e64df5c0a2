"""Offline generation for many prompts at once: plain decoding with as many rows as there are slots.

For training data and measurements; requests of clients go through an engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dataplane.models.attention import Span
from dataplane.models.kv_cache import KvCache
from dataplane.models.llama import LlamaModel

PREFILL_ROWS = 256


@dataclass(frozen=True, slots=True)
class Completion:
    index: int  # of the prompt
    tokens: tuple[int, ...]  # generated, including the end token
    finished: bool  # an end token came before the limit
    finals: torch.Tensor | None = None  # [n - 1, H] of prompt and output, if asked for: what `forward` returned
    features: torch.Tensor | None = None  # [n - 1, 3 H]


def prefill(
    model: LlamaModel, cache: KvCache, slot: int, tokens: Sequence[int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Append `tokens` to a slot; yields (hidden [n, H], features [n, 3 H]) per chunk."""
    start = cache.length(slot)
    for first in range(0, len(tokens), PREFILL_ROWS):
        chunk = torch.tensor(tokens[first : first + PREFILL_ROWS], device=model.device)
        span = Span(slot, start + first, len(chunk))
        plan = model.plan([span], cache)
        yield model.forward(chunk, plan, cache)
        cache.commit(slot, span.start + span.count)


def score_tokens(model: LlamaModel, tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [n, H] (for `model.logits`) and features [n, 3 H] of a whole sequence."""
    cache = model.new_cache(1, len(tokens))
    chunks = list(prefill(model, cache, cache.allocate(), tokens))
    return torch.cat([hidden for hidden, _ in chunks]), torch.cat([features for _, features in chunks])


def generate_batch(
    model: LlamaModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperatures: Sequence[float] | None = None,
    stop_token_ids: Sequence[int] | None = None,
    num_slots: int = 32,
    max_context: int = 1024,
    seed: int = 0,
    keep_features: bool = False,
) -> Iterator[Completion]:
    """Continue every prompt; completions come as they finish. A slot that ends takes the next prompt.

    `temperatures` per prompt, 0 (default) is greedy. `stop_token_ids` default to the model's end tokens. A prompt
    must leave room for at least one token in `max_context`, else ValueError. `keep_features`: completions carry what
    the model computed on them, as `score_tokens` would of all tokens but the last.
    """
    stops = set(model.config.eos_token_ids if stop_token_ids is None else stop_token_ids)
    random = torch.Generator().manual_seed(seed)
    cache = model.new_cache(min(num_slots, max(1, len(prompts))), max_context)
    for index, prompt in enumerate(prompts):
        if not 0 < len(prompt) < cache.max_context:
            raise ValueError(f"prompt {index} has {len(prompt)} tokens, the context is {cache.max_context}")
    waiting = list(range(len(prompts)))[::-1]
    running: dict[int, tuple[int, list[int]]] = {}  # slot -> prompt index, its output
    kept: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}  # slot -> (finals, features) of its rows
    while waiting or running:
        while waiting and cache.num_free:
            index, slot = waiting.pop(), cache.allocate()
            chunks = list(prefill(model, cache, slot, prompts[index]))
            hidden = chunks[-1][0][-1:]
            if keep_features:
                kept[slot] = chunks
            running[slot] = (index, _sample(model.logits(hidden), [_temperature(temperatures, index)], random))
        for slot, (index, output) in list(running.items()):
            finished = output[-1] in stops
            if finished or len(output) >= max_new_tokens or len(prompts[index]) + len(output) > cache.max_context:
                yield Completion(index, tuple(output), finished, *_joined(kept.pop(slot, [])))
                cache.free(slot)
                del running[slot]
        if (waiting and cache.num_free) or not running:
            continue
        slots = sorted(running)
        spans = [Span(slot, cache.length(slot), 1) for slot in slots]
        plan = model.plan(spans, cache)
        roots = torch.tensor([running[slot][1][-1] for slot in slots], device=model.device)
        hidden, features = model.forward(roots, plan, cache)
        chosen = _sample(model.logits(hidden), [_temperature(temperatures, running[slot][0]) for slot in slots], random)
        for slot, token in zip(slots, chosen, strict=True):
            cache.commit(slot, cache.length(slot) + 1)
            running[slot][1].append(token)
        for row, slot in enumerate(slots if keep_features else ()):
            kept[slot].append((hidden[row : row + 1], features[row : row + 1]))


def _joined(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if not parts:
        return None, None
    # clones, because tensors made in inference mode can't take part in autograd
    return torch.cat([finals for finals, _ in parts]).clone(), torch.cat([features for _, features in parts]).clone()


def _temperature(temperatures: Sequence[float] | None, index: int) -> float:
    return 0.0 if temperatures is None else temperatures[index]


def _sample(logits: torch.Tensor, temperatures: Sequence[float], random: torch.Generator) -> list[int]:
    """One token per row of [R, V]."""
    chosen: list[int] = logits.argmax(-1).tolist()
    rows = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if rows:
        heat = torch.tensor([temperatures[row] for row in rows])[:, None]
        sums = torch.softmax(logits[rows].float().cpu() / heat, -1).cumsum(-1)
        coins = torch.rand(len(rows), 1, generator=random) * sums[:, -1:]
        for row, token in zip(rows, torch.searchsorted(sums, coins, right=True)[:, 0].tolist(), strict=True):
            chosen[row] = min(token, logits.shape[1] - 1)
    return chosen
