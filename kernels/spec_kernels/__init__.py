"""Verification of speculative decoding: accept or reject draft tokens so that the output stays the target's own.

`verify_chains` runs the Triton kernels on CUDA tensors and the PyTorch reference elsewhere; both emit the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spec_kernels import reference
from spec_kernels.chains import Sampling, SamplingBatch, Verification, VerifyOptions, check_shapes, has_penalty
from spec_kernels.distribution import argmax_rows, target_probs
from spec_kernels.randomness import Purpose, uniform

__all__ = [
    "Purpose",
    "Sampling",
    "SamplingBatch",
    "Verification",
    "VerifyOptions",
    "emitted_tokens",
    "has_penalty",
    "target_probs",
    "uniform",
    "verify_chains",
]


def verify_chains(
    logits: torch.Tensor,  # [R, V] float
    draft_tokens: torch.Tensor | Sequence[int],  # int64 [R - B]
    offsets: torch.Tensor | Sequence[int],  # int64 [B + 1]
    positions: torch.Tensor | Sequence[int],  # int64 [B] absolute position of the first token under test
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None = None,  # B x [drafts of the sequence, V or Vd] float32
    *,
    options: VerifyOptions | None = None,
    with_logprobs: bool = False,
    with_stats: bool = False,
) -> Verification:
    """See `spec_kernels.reference.verify_chains`, which is the specification."""
    implementation = reference.verify_chains
    if logits.is_cuda:
        from spec_kernels import verification  # Triton comes with CUDA builds of PyTorch only

        implementation = verification.verify_chains
    return implementation(
        logits,
        draft_tokens,
        offsets,
        positions,
        sampling,
        draft_probs,
        options=options,
        with_logprobs=with_logprobs,
        with_stats=with_stats,
    )


def emitted_tokens(
    logits: torch.Tensor,  # [R, V] float
    draft_tokens: Sequence[int],  # [R - B]
    offsets: Sequence[int],  # [B + 1]
    positions: Sequence[int],  # [B]
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None = None,
    *,
    best: Sequence[int] | None = None,  # [R] argmax of each row, the lowest of equals, if it is known
) -> list[list[int]]:
    """`verify_chains(...).emitted()`. Greedy chains on a CPU are told without making tensors of the answer."""
    if sampling.greedy and not logits.is_cuda:
        check_shapes(logits, len(draft_tokens), offsets, positions, sampling, VerifyOptions())
        return reference.verify_greedy(argmax_rows(logits) if best is None else best, draft_tokens, offsets)
    return verify_chains(logits, draft_tokens, offsets, positions, sampling, draft_probs).emitted()
