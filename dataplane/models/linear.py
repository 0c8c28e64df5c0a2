"""The linear layers of the PyTorch path."""

from __future__ import annotations

import torch
import torch.nn.functional as F

PACKING_ROWS = 8  # the row count that oneDNN lays the packed weights out for


class Linear:
    """y = x W^T, with W packed for oneDNN where that is faster."""

    def __init__(self, weight: torch.Tensor) -> None:  # [out, in]
        self.packed = weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and _can_pack()
        if self.packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKING_ROWS)
        self.weight = weight

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """[R, in] -> [R, out]"""
        if self.packed:
            output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self.weight, None, "none", [], "")
            return output
        return F.linear(inputs, self.weight)

    def add(self, inputs: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """residual + x W^T"""
        if self.packed:
            output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, residual, self.weight, None, "add")
            return output
        return residual + F.linear(inputs, self.weight)


def _can_pack() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # type: ignore[no-untyped-call]
