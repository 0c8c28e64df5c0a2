"""The served model as the speculative step sees it, over the slot cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dataplane.models.attention import Span
from dataplane.models.kv_cache import KvCache, KvCacheError
from dataplane.models.llama import LlamaModel
from dataplane.speculation.types import Proposal, Scores, SequenceView


class EmbeddedTarget:
    """Implements `speculation.types.TargetModel`; prefill is the engine's own business.

    What a row computes depends on its sequence alone, bit by bit, whatever shares the forward (models/native.py,
    models/attention.py).
    """

    def __init__(self, model: LlamaModel, cache: KvCache) -> None:
        self.model = model
        self.cache = cache

    def prefill(self, slot: int, tokens: Sequence[int]) -> torch.Tensor:
        """Append `tokens` to a slot, committed. Returns their features [n, F]."""
        start = self.cache.length(slot)
        _, features = self._forward([Span(slot, start, len(tokens))], tokens)
        self.cache.commit(slot, start + len(tokens))
        return features

    def score(self, sequences: Sequence[SequenceView], proposals: Sequence[Proposal]) -> Scores:
        """One forward over root and draft tokens of every sequence. Raises KvCacheError if the cache lags behind."""
        spans, tokens, offsets = [], [], [0]
        for sequence, proposal in zip(sequences, proposals, strict=True):
            start = len(sequence.tokens) - 1
            if self.cache.length(sequence.slot) != start:
                raise KvCacheError(f"slot {sequence.slot} holds {self.cache.length(sequence.slot)}, root is at {start}")
            spans.append(Span(sequence.slot, start, 1 + len(proposal)))
            tokens.append(sequence.tokens[-1])
            tokens.extend(proposal.tokens)
            offsets.append(len(tokens))
        hidden, features = self._forward(spans, tokens)
        return Scores(self.model.logits(hidden), features, tuple(offsets))

    def commit(self, sequences: Sequence[SequenceView], num_accepted: Sequence[int]) -> None:
        """Keep the rows of root + num_accepted[i] draft tokens; the rest becomes stale and is overwritten."""
        for sequence, accepted in zip(sequences, num_accepted, strict=True):
            self.cache.commit(sequence.slot, len(sequence.tokens) + accepted)

    def _forward(self, spans: Sequence[Span], tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if any(span.start + span.count > self.cache.max_context for span in spans):
            raise KvCacheError(f"a sequence would grow beyond {self.cache.max_context} positions")
        if min(tokens) < 0 or max(tokens) >= self.model.config.vocab_size:
            raise ValueError("a token is outside of the vocabulary")
        plan = self.model.plan(spans, self.cache)
        return self.model.forward(torch.tensor(tokens, device=self.model.device), plan, self.cache)
