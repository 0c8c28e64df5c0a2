"""What the fused verification reads and writes, as tensors on the logits' device.

B sequences, R rows, V vocabulary, S chunks of it, as in `spec_kernels.chains`. Everything that a captured CUDA graph
would freeze is a number here or a shape; everything that changes between steps is the content of a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class SampledDrafts:
    """Draft probabilities of proposals that were sampled, over the target's vocabulary or the drafter's own."""

    probs: torch.Tensor  # float32 [sampled drafts, Vd], rows of a sequence one after the other
    first_rows: torch.Tensor  # int64 [B] row of the sequence's first draft, or -1: its proposal is deterministic
    draft_ids: torch.Tensor | None = None  # int32 [V] draft id of each target token, or -1; None: Vd is V


@dataclass(frozen=True, slots=True)
class Adjustments:
    """What changes logits before temperature and filters: bias, penalties, grammar masks.

    An item is a token of a sequence whose logit changes, or may once drafts before it are counted: so every draft of a
    sequence with penalties is one. Items of a sequence are distinct and sorted by token; those of chunk c of sequence i
    are offsets[i * S + c] : offsets[i * S + c + 1].
    """

    is_adjusted: torch.Tensor  # int32 [B] 0: the sequence has none
    penalties: torch.Tensor  # float64 [3, B] presence, frequency, repetition (1: off)
    offsets: torch.Tensor  # int32 [B * S + 1]
    tokens: torch.Tensor  # int32 [items]
    biases: torch.Tensor  # float64 [items]
    counts: torch.Tensor  # int32 [items] occurrences in the output
    seen: torch.Tensor  # int32 [items] is it in prompt or output?
    masks: torch.Tensor | None = None  # int32 [R, words]: bit t % 32 of word t / 32 allows token t; None: no grammar


@dataclass(frozen=True, slots=True)
class ChainTables:
    """One step's chains and sampling parameters."""

    drafts: torch.Tensor  # int64 [R - B]
    offsets: torch.Tensor  # int64 [B + 1]; rows from offsets[B] on are unused
    cutoffs: torch.Tensor  # int64 [B] drafts of the sequence under test, at most; what lies behind isn't looked at
    positions: torch.Tensor  # int64 [B] absolute position of the first token under test
    seeds: torch.Tensor  # int64 [B]
    top_ks: torch.Tensor  # int64 [B], 0: off
    temperatures: torch.Tensor  # float64 [B], 0: greedy
    top_ps: torch.Tensor  # float64 [B], 1: off
    min_offsets: torch.Tensor  # float64 [B] temperature * log(min_p), -inf: off
    sources: torch.Tensor | None = None  # int32 [R - B] who drafted each token: copied for what was under test
    sampled: SampledDrafts | None = None
    adjustments: Adjustments | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What fixes the shape of the launches: sizes, and which parts of the kernels are compiled in.

    The parts may be switched on without need (a captured graph has to serve whatever comes); without them it is faster.
    """

    num_rows: int  # R, with unused rows
    batch: int
    vocabulary: int
    width: int  # longest chain + 1
    samples: bool = True  # may a temperature be above 0?
    filters: bool = True  # may top-k, top-p or min-p be on?
    adjusts: bool = False
    statistics: bool = False
    logprobs: bool = False
    chunk: int = 8192  # tokens per program of the scan, a power of two
    sub: int = 64  # tokens per block whose largest logit is kept, a power of two

    @property
    def num_chunks(self) -> int:
        return -(-self.vocabulary // self.chunk)

    @property
    def num_peaks(self) -> int:
        return -(-self.vocabulary // self.sub)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Scratch and results of one layout, allocated once; a launch overwrites all that it uses."""

    partials: torch.Tensor  # float32 [6, R, S]
    places: torch.Tensor  # int32 [R, S]
    peaks: torch.Tensor  # float32 [R, V / sub]
    blocks: torch.Tensor  # int32 [R, V / sub]
    adjusted: torch.Tensor  # float32 [R, V]
    residuals: torch.Tensor  # float64 [B, S]
    row_token: torch.Tensor  # int64 [R]
    row_accepted: torch.Tensor  # int32 [R]
    row_bounds: torch.Tensor  # float32 [3, R]
    row_total: torch.Tensor  # float64 [R]
    # results
    tokens: torch.Tensor  # int64 [B, width]
    num_accepted: torch.Tensor  # int64 [B]
    logprobs: torch.Tensor  # float32 [B, width]
    draft_stats: torch.Tensor  # float32 [2, R - B] target's and drafter's probability of each draft token
    draft_sources: torch.Tensor  # int32 [R - B] source of each draft token under test, else -1
    row_stats: torch.Tensor  # float32 [2, R] entropy and margin of each row

    @classmethod
    def allocate(cls, layout: Layout, device: torch.device) -> Workspace:
        """Parts that the layout leaves out take no memory."""
        rows, batch, chunks, drafts = layout.num_rows, layout.batch, layout.num_chunks, layout.num_rows - layout.batch
        peaks = (rows, layout.num_peaks) if layout.filters and layout.samples else (0, 0)

        def empty(dtype: torch.dtype, *shape: int) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype, device=device)

        return cls(
            partials=empty(torch.float32, 6, rows, chunks),
            places=empty(torch.int32, rows, chunks),
            peaks=empty(torch.float32, *peaks),
            blocks=empty(torch.int32, *peaks),
            adjusted=empty(torch.float32, rows if layout.adjusts else 0, layout.vocabulary),
            residuals=empty(torch.float64, batch, chunks),
            row_token=empty(torch.int64, rows),
            row_accepted=empty(torch.int32, rows),
            row_bounds=empty(torch.float32, 3, rows),
            row_total=empty(torch.float64, rows),
            tokens=empty(torch.int64, batch, layout.width),
            num_accepted=empty(torch.int64, batch),
            logprobs=empty(torch.float32, batch, layout.width),
            draft_stats=empty(torch.float32, 2, drafts),
            draft_sources=torch.full((drafts,), -1, dtype=torch.int32, device=device),
            row_stats=empty(torch.float32, 2, rows),
        )


def invert_hot_tokens(hot_tokens: torch.Tensor, vocabulary: int) -> torch.Tensor:  # int64 [Vd] -> int32 [V]
    """`SampledDrafts.draft_ids` of a drafter whose draft id i is target token hot_tokens[i]."""
    ids = torch.full((vocabulary,), -1, dtype=torch.int32, device=hot_tokens.device)
    ids[hot_tokens] = torch.arange(len(hot_tokens), dtype=torch.int32, device=hot_tokens.device)
    return ids
