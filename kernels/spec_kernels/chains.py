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
    def logit_bias(self) -> Mapping[int, float]: ...


@dataclass(frozen=True, slots=True)
class SamplingBatch:
    """Sampling parameters of B sequences, and the output tokens that their penalties count.

    Plain Python values: they come from requests, and the greedy path, which runs at every step, needs none of them on
    a device.
    """

    params: tuple[Sampling, ...]  # [B]
    outputs: tuple[Sequence[int], ...]  # [B] tokens emitted so far, without the prompt
    greedy: bool  # all of temperature 0, and nothing to add to the logits

    @classmethod
    def of(cls, params: Sequence[Sampling], outputs: Sequence[Sequence[int]] | None = None) -> SamplingBatch:
        """`outputs` may be left out when no sequence has a penalty. Raises ValueError if it is needed and absent."""
        if outputs is None:
            if any(one.presence_penalty or one.frequency_penalty for one in params):
                raise ValueError("penalties need the output tokens")
            outputs = ((),) * len(params)
        if len(outputs) != len(params):
            raise ValueError(f"{len(outputs)} outputs for {len(params)} sequences")
        greedy = all(one.temperature == 0 and not adjusts_logits(one) for one in params)
        return cls(tuple(params), tuple(outputs), greedy)


@dataclass(frozen=True, slots=True)
class Verification:
    """What the target makes of each chain. Padding of tokens is -1, of log-probabilities 0.

    `entropy` and `margin` describe the target's unmodified softmax; `target_prob_of_draft` is the probability under
    the distribution that the client samples from (for greedy sequences: under the softmax at temperature 1).
    """

    num_accepted: torch.Tensor  # int64 [B]
    tokens: torch.Tensor  # int64 [B, longest chain + 1]: accepted tokens, then the recovered or bonus token
    logprobs: torch.Tensor | None = None  # float32 [B, longest chain + 1], of the unmodified softmax
    target_prob_of_draft: torch.Tensor | None = None  # float32 [R - B]
    entropy: torch.Tensor | None = None  # float32 [R], nats
    margin: torch.Tensor | None = None  # float32 [R], likeliest minus second likeliest probability

    def emitted(self) -> list[list[int]]:
        """New tokens of each sequence: num_accepted + 1 of them."""
        return [row[: count + 1] for row, count in zip(self.tokens.tolist(), self.num_accepted.tolist(), strict=True)]


def adjusts_logits(params: Sampling) -> bool:
    """Does anything get added to the logits before temperature and filters?"""
    return bool(params.presence_penalty or params.frequency_penalty or params.logit_bias)


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
