"""The served model as the speculative step sees it, over the slot cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dataplane.models.attention import Span
from dataplane.models.kv_cache import NUM_ASIDE, KvCache, KvCacheError
from dataplane.models.llama import LlamaModel
from dataplane.speculation.types import NOTHING_CHOSEN, Proposal, Scores, SequenceView


class EmbeddedTarget:
    """Implements `speculation.types.TargetModel`; prefill is the engine's own business.

    What a row computes depends on its sequence alone, bit by bit, whatever shares the forward (models/native.py,
    models/attention.py).
    """

    def __init__(self, model: LlamaModel, cache: KvCache) -> None:
        self.model = model
        self.cache = cache
        self.max_alternatives = NUM_ASIDE if model.native is not None else 0

    def prefill(self, slot: int, tokens: Sequence[int]) -> torch.Tensor:
        """Append `tokens` to a slot, committed. Returns their features [n, F]."""
        start = self.cache.length(slot)
        _, features = self._forward([Span(slot, start, len(tokens))], tokens)
        self.cache.commit(slot, start + len(tokens))
        return features

    def score(self, sequences: Sequence[SequenceView], proposals: Sequence[Proposal]) -> Scores:
        """One forward over root, draft tokens and alternatives of every sequence.

        Raises KvCacheError if the cache lags behind, or for more alternatives than it holds.
        """
        spans, tokens, offsets = [], [], [0]
        for sequence, proposal in zip(sequences, proposals, strict=True):
            start = len(sequence.tokens) - 1
            if self.cache.length(sequence.slot) != start:
                raise KvCacheError(f"slot {sequence.slot} holds {self.cache.length(sequence.slot)}, root is at {start}")
            spans.append(Span(sequence.slot, start, 1 + len(proposal), len(proposal.alternatives)))
            tokens.append(sequence.tokens[-1])
            tokens.extend(proposal.tokens)
            tokens.extend(proposal.alternatives)
            offsets.append(len(tokens))
        hidden, features = self._forward(spans, tokens)
        logits, best = self.model.ranked_logits(hidden)
        return Scores(logits, features, tuple(offsets), best)

    def commit(
        self, sequences: Sequence[SequenceView], num_accepted: Sequence[int], chosen: Mapping[int, int] = NOTHING_CHOSEN
    ) -> None:
        """Keep the rows of root + num_accepted[i] draft tokens, or root + alternative; the rest is overwritten."""
        for index, (sequence, accepted) in enumerate(zip(sequences, num_accepted, strict=True)):
            length = len(sequence.tokens) + accepted
            if index in chosen:
                self.cache.adopt(sequence.slot, chosen[index], length)
                length += 1
            self.cache.commit(sequence.slot, length)

    def _forward(self, spans: Sequence[Span], tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if any(span.start + span.count > self.cache.max_context for span in spans):
            raise KvCacheError(f"a sequence would grow beyond {self.cache.max_context} positions")
        if min(tokens) < 0 or max(tokens) >= self.model.config.vocab_size:
            raise ValueError("a token is outside of the vocabulary")
        if any(span.start + 1 >= self.cache.max_context for span in spans if span.alternatives):
            raise KvCacheError(f"an alternative would stand beyond {self.cache.max_context} positions")
        plan = self.model.plan(spans, self.cache)
        return self.model.forward(tokens, plan, self.cache)
