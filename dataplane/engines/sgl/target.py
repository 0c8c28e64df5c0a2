"""SGLang's verify forward as a `TargetModel`, and the target's features kept beside its KV cache.

A verification runs w rows per sequence, the root and w - 1 places for draft tokens; sequences with shorter proposals
fill their places with their root, and nobody looks at these rows:

    sequence 0   root  d1  d2  d3        batch.out_cache_loc: the KV slots behind what is committed
    sequence 1   root  d1  --  --        an accepted chain lies where it was written: commit moves nothing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sglang.kernels.ops.speculative.cache_locs import assign_extend_cache_locs_func
from sglang.srt.model_executor.forward_batch_info import CaptureHiddenMode, ForwardMode
from sglang.srt.speculative.ngram_info import NgramVerifyInput

from dataplane.speculation.types import NOTHING_CHOSEN, Proposal, Scores, SequenceView


class FeaturePool:
    """The target's features of every position in the KV cache, by KV slot.

    A prefix that SGLang's radix cache hands to another request brings its features along, because both are found by
    the same slots. Costs F numbers per token of KV cache.
    """

    def __init__(self, num_slots: int, width: int, like: torch.Tensor) -> None:
        self._features = torch.zeros(num_slots, width, dtype=like.dtype, device=like.device)

    def write(self, locations: torch.Tensor, features: torch.Tensor) -> None:  # [n], [n, F]
        self._features[locations] = features.to(self._features)

    def read(self, locations: torch.Tensor) -> torch.Tensor:  # [n] -> [n, F]
        return self._features[locations]


class SglTarget:
    """Implements `speculation.types.TargetModel` for the batch that `begin` names."""

    max_alternatives = 0  # SGLang's verification could hold them as a tree; chains only so far

    def __init__(
        self,
        worker: Any,
        *,
        width: int,
        fixed: bool,
        capture: CaptureHiddenMode,
        pool: FeaturePool | None,
        announce: Callable[[Sequence[Proposal]], None] = lambda proposals: None,
    ) -> None:
        """`worker`: SGLang's worker of the target. `fixed`: always `width` rows, as captured graphs demand.

        `capture`: FULL for a drafter that reads features, on every rank alike; `pool` keeps them where it drafts.
        `announce`: told what is about to be scored.
        """
        self.pool = pool
        self.capture = capture
        self._announce = announce
        self._worker = worker
        self._width = width
        self._fixed = fixed
        self._batch: Any = None
        self._scores: Scores | None = None
        self._kept = torch.empty(0, dtype=torch.int64)
        self.output: Any = None  # SGLang's result of the last forward

    def begin(self, batch: Any) -> None:
        """The decode batch (`ScheduleBatch`) of the step that follows; sequences come in the order of its requests."""
        self._batch = batch

    def score(self, sequences: Sequence[SequenceView], proposals: Sequence[Proposal]) -> Scores:
        """One forward of SGLang. Raises ValueError for a proposal longer than a verification holds."""
        batch, count = self._batch, len(sequences)
        longest = max(len(proposal) for proposal in proposals)
        if longest >= self._width:
            raise ValueError(f"a proposal of {longest} tokens, and a verification holds {self._width - 1}")
        self._announce(proposals)
        width = self._width if self._fixed else longest + 1
        rows: list[list[int]] = []
        kept: list[int] = []
        offsets = [0]
        for index, (sequence, proposal) in enumerate(zip(sequences, proposals, strict=True)):
            root = sequence.tokens[-1]
            rows.append([root, *proposal.tokens] + [root] * (width - 1 - len(proposal)))
            kept.extend(range(index * width, index * width + 1 + len(proposal)))
            offsets.append(len(kept))
        self._prepare(batch, torch.tensor(rows), width)
        self.output = self._worker.forward_batch_generation(batch, is_verify=True, capture_hidden_mode=self.capture)
        logits = self.output.logits_output
        self._kept = torch.tensor(kept, device=batch.device)
        scored = logits.next_token_logits[self._kept]
        features = scored.new_zeros(len(kept), 1) if self.pool is None else logits.hidden_states[self._kept]
        assert len(offsets) == count + 1
        self._scores = Scores(scored, features, tuple(offsets))
        return self._scores

    def commit(
        self, sequences: Sequence[SequenceView], num_accepted: Sequence[int], chosen: Mapping[int, int] = NOTHING_CHOSEN
    ) -> None:
        """Accepted rows stay where they are, features too; the scheduler's lengths tell which ones count."""
        if self.pool is None:
            return
        assert self._scores is not None, "score comes before commit"
        offsets = self._scores.offsets
        rows = [row for start, accepted in zip(offsets, num_accepted, strict=False)
                for row in range(start, start + accepted + 1)]  # fmt: skip
        kept = torch.tensor(rows, device=self._kept.device)
        self.pool.write(self._batch.out_cache_loc[self._kept[kept]], self._scores.features[kept])

    def _prepare(self, batch: Any, tokens: torch.Tensor, width: int) -> None:  # tokens [B, w]
        count, device = len(tokens), batch.device
        steps = torch.arange(width, device=device)
        lengths = batch.seq_lens
        limit = self._worker.model_runner.model_config.context_len - 1  # rows that nobody looks at may lie behind it
        batch.forward_mode = ForwardMode.TARGET_VERIFY
        batch.input_ids = tokens.flatten().to(device)
        batch.out_cache_loc = assign_extend_cache_locs_func(
            req_pool_indices=batch.req_pool_indices,
            req_to_token=batch.req_to_token_pool.req_to_token,
            start_offset=lengths,
            end_offset=lengths + width,
            batch_size=count,
            draft_token_num=width,
            device=device,
        )
        chain = steps[:, None] >= steps  # [w, w]
        masks = [
            torch.cat([torch.ones(width, length, dtype=torch.bool, device=device), chain], 1).flatten()
            for length in batch.seq_lens_cpu.tolist()
        ]
        following = torch.where(steps + 1 < width, steps + 1, -1)
        batch.spec_info = NgramVerifyInput(
            draft_token=batch.input_ids,
            custom_mask=torch.cat(masks),
            positions=(lengths[:, None] + steps).clamp(max=limit).flatten(),
            retrieve_index=torch.arange(count * width, device=device).view(count, width),
            retrieve_next_token=following.expand(count, width).contiguous(),
            retrieve_next_sibling=torch.full((count, width), -1, device=device),
            draft_token_num=width,
        )
