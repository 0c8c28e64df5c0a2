"""Which floating-point type this machine multiplies fast."""

from __future__ import annotations

import torch


def fast_dtype() -> torch.dtype:
    """bfloat16 where the processor has instructions that oneDNN uses for it (AVX-512 on), else float32.

    Without them PyTorch's bfloat16 matrix product is about nine times slower than float32 (AVX2, 256 rows: 8 against
    64 GFLOP/s on one core), so everything that need not be stored small is computed in float32 there.
    """
    supported = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # type: ignore[no-untyped-call]
    return torch.bfloat16 if supported else torch.float32
