"""Inputs and outputs of chain verification.

Notation: B sequences, R scored rows, V vocabulary. Rows of sequence i are offsets[i]:offsets[i+1]: its root, then one
row for each of its draft tokens, so that R - B draft tokens are under test.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


class Sampling(Protocol):
    """What a client asks of the target distribution (OpenAI semantics). temperature 0 is greedy decoding."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...  # 0: off
    @property
    def top_p(self) -> float: ...  # 1: off
    @property
    def min_p(self) -> float: ...  # 0: off
    @property
    def seed(self) -> int: ...
    @property
    def presence_penalty(self) -> float: ...
    @property
    def frequency_penalty(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...  # 1: off
    @property
    def logit_bias(self) -> Mapping[int, float]: ...


@dataclass(frozen=True, slots=True)
class SamplingBatch:
    """Sampling parameters of B sequences, and the tokens that their penalties count.

    Plain Python values: they come from requests, and the greedy path, which runs at every step, needs none of them on
    a device.
    """

    params: tuple[Sampling, ...]  # [B]
    outputs: tuple[Sequence[int], ...]  # [B] tokens emitted so far, without the prompt
    greedy: bool  # all of temperature 0, and nothing to add to the logits
    prompts: tuple[Sequence[int], ...] = ()  # [B]; the repetition penalty counts them too

    @classmethod
    def of(
        cls,
        params: Sequence[Sampling],
        outputs: Sequence[Sequence[int]] | None = None,
        prompts: Sequence[Sequence[int]] | None = None,
    ) -> SamplingBatch:
        """`outputs` may be left out when no sequence has a penalty, `prompts` when none has a repetition penalty.

        Raises ValueError if they are needed and absent, or not one for each sequence.
        """
        if outputs is None:
            if any(has_penalty(one) for one in params):
                raise ValueError("penalties need the output tokens")
            outputs = ((),) * len(params)
        if prompts is None:
            if any(one.repetition_penalty != 1 for one in params):
                raise ValueError("the repetition penalty needs the prompts")
            prompts = ((),) * len(params)
        for name, tokens in (("outputs", outputs), ("prompts", prompts)):
            if len(tokens) != len(params):
                raise ValueError(f"{len(tokens)} {name} for {len(params)} sequences")
        for one in params:
            if not one.repetition_penalty > 0:
                raise ValueError(f"a repetition penalty of {one.repetition_penalty} is not above 0")
        greedy = all(is_greedy(one) for one in params)
        return cls(tuple(params), tuple(outputs), greedy, tuple(prompts))


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What few batches need.

    `cutoffs[i]`: at most so many drafts of sequence i are under test; what lies behind is neither read nor judged. It
    may depend on anything but the drafts themselves and the logits at their rows. `masks`: grammars; bit t % 32 of word
    t // 32 says that token t is allowed (the layout of xgrammar and llguidance). `draft_ids`: draft id of each target
    token or -1, when draft probabilities are over a drafter's own vocabulary (`invert_hot_tokens`).
    """

    cutoffs: Sequence[int] | None = None  # [B]
    masks: torch.Tensor | None = None  # int32 [R, V / 32 rounded up]
    draft_ids: torch.Tensor | None = None  # int32 [V]
    sources: Sequence[int] | None = None  # [R - B]
    with_logprobs: bool = False
    with_stats: bool = False


@dataclass(frozen=True, slots=True)
class Verification:
    """What the target makes of each chain. Padding of tokens is -1, of log-probabilities 0.

    Statistics of what lies behind a cut-off are 0. `entropy` and `margin` describe the target's unmodified softmax;
    `target_prob_of_draft` is the probability under
    the distribution that the client samples from (for greedy sequences: under the softmax at temperature 1).
    """

    num_accepted: torch.Tensor  # int64 [B]
    tokens: torch.Tensor  # int64 [B, longest chain + 1]: accepted tokens, then the recovered or bonus token
    logprobs: torch.Tensor | None = None  # float32 [B, longest chain + 1], of the unmodified softmax
    target_prob_of_draft: torch.Tensor | None = None  # float32 [R - B]
    entropy: torch.Tensor | None = None  # float32 [R], nats
    margin: torch.Tensor | None = None  # float32 [R], likeliest minus second likeliest probability
    draft_prob: torch.Tensor | None = None  # float32 [R - B], the drafter's own; 1 for a deterministic proposal
    source: torch.Tensor | None = None  # int32 [R - B], as given for each draft token; -1: beyond the cut-off

    def emitted(self) -> list[list[int]]:
        """New tokens of each sequence: num_accepted + 1 of them."""
        return [row[: count + 1] for row, count in zip(self.tokens.tolist(), self.num_accepted.tolist(), strict=True)]


def adjusts_logits(params: Sampling) -> bool:
    """Does anything get added to the logits before temperature and filters?"""
    return bool(has_penalty(params) or params.logit_bias)


def is_greedy(params: Sampling) -> bool:
    """Is the token simply the likeliest of the target's own logits?"""
    return params.temperature == 0 and not adjusts_logits(params)


def has_penalty(params: Sampling) -> bool:
    """Do earlier tokens change the logits?"""
    return bool(params.presence_penalty or params.frequency_penalty or params.repetition_penalty != 1)


def additions(params: Sampling, counts: Counter[int], vocabulary: int) -> dict[int, float]:
    """What is added to the logit of each token: its bias, minus the penalties for `counts` earlier occurrences.

    Ids outside of the vocabulary are left out.
    """
    added = dict(params.logit_bias)
    if params.presence_penalty or params.frequency_penalty:
        for token, count in counts.items():
            added[token] = added.get(token, 0.0) - params.presence_penalty - params.frequency_penalty * count
    return {token: value for token, value in added.items() if 0 <= token < vocabulary}


def check_shapes(
    logits: torch.Tensor,  # [R, V]
    num_drafts: int,
    offsets: Sequence[int],  # [B + 1]
    positions: Sequence[int],  # [B]
    sampling: SamplingBatch,
    options: VerifyOptions,
) -> None:
    """Raises ValueError, which names the argument that does not fit."""
    batch = len(offsets) - 1
    if logits.ndim != 2:
        raise ValueError(f"logits must be [R, V], got {list(logits.shape)}")
    if batch < 0 or offsets[0] != 0 or offsets[-1] != logits.shape[0]:
        raise ValueError(f"offsets must run from 0 to {logits.shape[0]} rows, got {list(offsets)}")
    if any(end <= start for start, end in itertools.pairwise(offsets)):
        raise ValueError("offsets: every sequence has at least its root row")
    if num_drafts != logits.shape[0] - batch:
        raise ValueError(f"draft_tokens: expected {logits.shape[0] - batch}, got {num_drafts}")
    if len(positions) != batch:
        raise ValueError(f"positions: expected {batch}, got {len(positions)}")
    if len(sampling.params) != batch:
        raise ValueError(f"sampling: expected {batch} sequences, got {len(sampling.params)}")
    if options.cutoffs is not None and (len(options.cutoffs) != batch or any(cut < 0 for cut in options.cutoffs)):
        raise ValueError(f"cutoffs: expected {batch}, none below 0, got {list(options.cutoffs)}")
    if options.sources is not None and len(options.sources) != num_drafts:
        raise ValueError(f"sources: expected {num_drafts}, got {len(options.sources)}")
    words = -(-logits.shape[1] // 32)
    for name, tensor, shape in (
        ("masks", options.masks, (logits.shape[0], words)),
        ("draft_ids", options.draft_ids, (logits.shape[1],)),
    ):
        if tensor is not None and (tuple(tensor.shape) != shape or tensor.dtype != torch.int32):
            raise ValueError(f"{name}: expected int32 {list(shape)}, got {tensor.dtype} {list(tensor.shape)}")
