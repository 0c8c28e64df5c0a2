"""Verification of speculative decoding: accept or reject draft tokens so that the output stays the target's own.

`verify_chains` runs the Triton kernels on CUDA tensors and the PyTorch reference elsewhere; both emit the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spec_kernels import reference
from spec_kernels.chains import Sampling, SamplingBatch, Verification, VerifyOptions, has_penalty, is_greedy
from spec_kernels.distribution import target_probs
from spec_kernels.randomness import Purpose, uniform
from spec_kernels.reference import verify_greedy

__all__ = [
    "Purpose",
    "Sampling",
    "SamplingBatch",
    "Verification",
    "VerifyOptions",
    "has_penalty",
    "is_greedy",
    "target_probs",
    "uniform",
    "verify_chains",
    "verify_greedy",
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
