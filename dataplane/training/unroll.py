"""The drafter as a differentiable function, unrolled over several draft steps ("training-time test").

Position t of a sequence pairs the target's feature of token t with the embedding of token t + 1, and drafts token
t + 2. An *anchor* is a position from which a chain is drafted: step 0 there uses the target's feature, step j > 0 the
drafter's own hidden state of step j - 1 and the true token t + 1 + j. Step j attends to the step-0 keys of positions
up to the anchor and to the keys of its own steps 1..j, exactly as serving does:

    keys of step j at anchor t:   0 0 0 ... 0   |  1 2 ... j        (rotary positions 0..t | t+1..t+j)

Source: EAGLE-3, Li et al. 2025 (arXiv 2503.01840), section 3.2. Notation: N sequences, S positions, A anchors per
sequence, H hidden size, D head dimension, V hot vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from dataplane.speculation.drafters.checkpoint import RECURRENT, EagleConfig
from dataplane.speculation.drafters.eagle import rotary_table

Parameters = Mapping[str, torch.Tensor]
LowRank = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence with what the target computed on it: rows 0..n-2 of a sequence of n tokens."""

    tokens: torch.Tensor  # int64 [n]
    num_prompt_tokens: int
    features: torch.Tensor  # [n - 1, 3H]
    finals: torch.Tensor  # [n - 1, H] the input of the target's head
    temperature: float = 0.0  # at which the answer was sampled
    # Half-open ranges of tokens that stand for something masked: nothing is drafted from, over or into them.
    masked: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded examples. Step j at anchor t drafts what row t + 1 + j of `finals` says."""

    next_tokens: torch.Tensor  # int64 [N, S + steps] token after each position
    features: torch.Tensor  # [N, S, 3H]
    finals: torch.Tensor  # [N, S, H]
    num_rows: torch.Tensor  # int64 [N]
    anchors: torch.Tensor  # int64 [N, A], padded with 0
    valid: torch.Tensor  # bool [N, A, steps]


def collate(examples: Sequence[Example], num_steps: int, max_anchors: int | None = None) -> Batch:
    """Pad examples; anchors are the positions from which answers are drafted (the newest `max_anchors`, if given)."""
    rows = max(len(example.features) for example in examples)
    starts = [max(example.num_prompt_tokens - 1, 0) for example in examples]
    counts = [max(len(example.features) - 1 - start, 0) for example, start in zip(examples, starts, strict=True)]
    width = max(1, min(max(counts), max_anchors or max(counts)))
    first = examples[0]
    next_tokens = torch.zeros(len(examples), rows + num_steps, dtype=torch.int64)
    features = first.features.new_zeros(len(examples), rows, first.features.shape[1])
    finals = first.finals.new_zeros(len(examples), rows, first.finals.shape[1])
    anchors = torch.zeros(len(examples), width, dtype=torch.int64)
    valid = torch.zeros(len(examples), width, num_steps, dtype=torch.bool)
    steps = torch.arange(num_steps)
    for index, example in enumerate(examples):
        length = len(example.features)
        num_masked = torch.zeros(length + num_steps + 4, dtype=torch.int64)  # among the tokens before each position
        for start, end in example.masked:
            num_masked[start + 1 : end + 1] = 1
        num_masked = num_masked.cumsum(0)
        next_tokens[index, :length] = example.tokens[1 : length + 1]
        features[index, :length] = example.features
        finals[index, :length] = example.finals
        here = torch.arange(starts[index], starts[index] + min(counts[index], width))
        anchors[index, : len(here)] = here
        is_clean = num_masked[here[:, None] + 3 + steps] == num_masked[here][:, None]  # tokens t .. t + 2 + j
        valid[index, : len(here)] = (here[:, None] + 1 + steps < length) & is_clean
    return Batch(next_tokens, features, finals, torch.tensor([len(e.features) for e in examples]), anchors, valid)


def unroll(
    parameters: Parameters,
    config: EagleConfig,
    embeddings: torch.Tensor,  # [target vocabulary, H]
    batch: Batch,
    low_rank: LowRank | None = None,
) -> list[torch.Tensor]:
    """Normalised output of every step at every anchor, the input of `draft_logits`: a list of [N, A, H]."""
    if config.design == RECURRENT:
        return _recur(parameters, config, embeddings, batch, low_rank)
    count, width, num_steps = batch.valid.shape
    heads, kv_heads, dim = config.num_heads, config.num_kv_heads, config.head_dim
    rows = batch.features.shape[1]
    cos, sin = rotary_table(rows + num_steps, config, parameters["norm.weight"].dtype)
    pick = batch.anchors[:, :, None]  # [N, A, 1]

    def at_anchors(values: torch.Tensor) -> torch.Tensor:  # [N, S, X] -> [N, A, X]
        return values.gather(1, pick.expand(-1, -1, values.shape[-1]))

    def heads_of(values: torch.Tensor, number: int) -> torch.Tensor:  # [N, R, number * D] -> [N, number, R, D]
        return values.view(values.shape[0], values.shape[1], number, dim).transpose(1, 2)

    fused = functional.linear(batch.features.to(parameters["fc.weight"].dtype), parameters["fc.weight"])
    inputs = _attention_input(parameters, config, functional.embedding(batch.next_tokens[:, :rows], embeddings), fused)
    group = heads // kv_heads
    keys = _rotate(heads_of(_project(parameters, "k_proj", inputs), kv_heads), cos[:rows], sin[:rows])
    keys = keys.repeat_interleave(group, 1)  # [N, heads, S, D]
    values = heads_of(_project(parameters, "v_proj", inputs), kv_heads).repeat_interleave(group, 1)
    seen = torch.cat(  # [N, A, S + (steps - 1) A]: of the keys of a later step, an anchor sees its own
        [torch.arange(rows) <= pick, torch.eye(width, dtype=torch.bool).repeat(1, num_steps - 1).expand(count, -1, -1)],
        -1,
    )
    mask = torch.zeros(seen.shape, dtype=keys.dtype).masked_fill(~seen, float("-inf"))[:, None]

    inputs, hidden = at_anchors(inputs), at_anchors(fused)
    outputs = []
    for step in range(num_steps):
        here = batch.anchors + step
        turn = cos[here][:, None], sin[here][:, None]  # [N, 1, A, D]
        if step:
            tokens = batch.next_tokens.gather(1, here)
            inputs = _attention_input(parameters, config, functional.embedding(tokens, embeddings), hidden)
            key = _rotate(heads_of(_project(parameters, "k_proj", inputs), kv_heads), *turn)
            value = heads_of(_project(parameters, "v_proj", inputs), kv_heads)
            keys = torch.cat([keys, key.repeat_interleave(group, 1)], 2)
            values = torch.cat([values, value.repeat_interleave(group, 1)], 2)
        query = _rotate(heads_of(_project(parameters, "q_proj", inputs), heads), *turn)
        mixed = functional.scaled_dot_product_attention(
            query.to(values.dtype), keys.to(values.dtype), values, mask[..., : keys.shape[2]].to(values.dtype)
        )
        mixed = mixed.transpose(1, 2).reshape(count, width, heads * dim)
        hidden = hidden + functional.linear(mixed, parameters["midlayer.self_attn.o_proj.weight"])
        hidden = hidden + _mlp(parameters, config, hidden, low_rank)
        outputs.append(_norm(hidden, parameters["norm.weight"], config))
    return outputs


def _recur(
    parameters: Parameters, config: EagleConfig, embeddings: torch.Tensor, batch: Batch, low_rank: LowRank | None
) -> list[torch.Tensor]:
    """`unroll` of a recurrent drafter: what it knows of the text before an anchor is that position's feature."""
    places = batch.anchors[:, :, None].expand(-1, -1, batch.features.shape[-1])
    features = batch.features.gather(1, places).to(parameters["fc.weight"].dtype)
    hidden = functional.linear(features, parameters["fc.weight"])
    outputs = []
    for step in range(batch.valid.shape[-1]):
        embedded = functional.embedding(batch.next_tokens.gather(1, batch.anchors + step), embeddings)
        inputs = _attention_input(parameters, config, embedded, hidden)
        hidden = hidden + functional.linear(inputs, parameters["midlayer.mix.weight"])
        hidden = hidden + _mlp(parameters, config, hidden, low_rank)
        outputs.append(_norm(hidden, parameters["norm.weight"], config))
    return outputs


def draft_logits(parameters: Parameters, outputs: torch.Tensor, low_rank: LowRank | None = None) -> torch.Tensor:
    """Logits over the hot vocabulary: outputs [M, H] -> [M, V]."""
    return _linear(parameters, "lm_head", outputs, low_rank)


def _rotate(values: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return values * cos + values.roll(values.shape[-1] // 2, -1) * sin


def _norm(values: torch.Tensor, weight: torch.Tensor, config: EagleConfig) -> torch.Tensor:
    return functional.rms_norm(values.to(weight.dtype), (config.hidden_size,), weight, config.rms_norm_eps)


def _attention_input(
    parameters: Parameters, config: EagleConfig, embedded: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    return torch.cat(
        [
            _norm(embedded, parameters["midlayer.input_layernorm.weight"], config),
            _norm(hidden, parameters["midlayer.hidden_norm.weight"], config),
        ],
        -1,
    )


def _project(parameters: Parameters, name: str, inputs: torch.Tensor) -> torch.Tensor:
    return functional.linear(inputs, parameters[f"midlayer.self_attn.{name}.weight"])


def _linear(parameters: Parameters, module: str, inputs: torch.Tensor, low_rank: LowRank | None) -> torch.Tensor:
    output = functional.linear(inputs, parameters[f"{module}.weight"])
    if low_rank is not None:
        down, up = low_rank[module]
        output = output + functional.linear(functional.linear(inputs, down), up)
    return output


def _mlp(parameters: Parameters, config: EagleConfig, hidden: torch.Tensor, low_rank: LowRank | None) -> torch.Tensor:
    inputs = _norm(hidden, parameters["midlayer.post_attention_layernorm.weight"], config)
    gate = _linear(parameters, "midlayer.mlp.gate_proj", inputs, low_rank)
    up = _linear(parameters, "midlayer.mlp.up_proj", inputs, low_rank)
    return _linear(parameters, "midlayer.mlp.down_proj", functional.silu(gate) * up, low_rank)
