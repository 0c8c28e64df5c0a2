"""The drafter's linear layers: on a CPU in bf16, whichever kernels are the fastest here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from cpu_kernels import BuildError, load_library, pack

PACKING_ROWS = 4  # the row count that oneDNN lays packed weights out for

Projection = Callable[[torch.Tensor], torch.Tensor]  # [B, in] -> [B, out]


def projection(weight: torch.Tensor) -> Projection:  # [out, in]
    """x W^T, with W packed once: for the native kernels, else for oneDNN, else not at all."""
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return lambda inputs: functional.linear(inputs, weight)
    try:
        library = load_library()
    except BuildError:
        return _packed_for_onednn(weight)
    if weight.shape[1] % 2:
        return _packed_for_onednn(weight)
    panels = pack(weight)
    return lambda inputs: library.linear(panels, inputs, torch.bfloat16)


def _packed_for_onednn(weight: torch.Tensor) -> Projection:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return lambda inputs: functional.linear(inputs, weight)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKING_ROWS)

    def project(inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, packed, None, "none", [], "")
        return output

    return project
