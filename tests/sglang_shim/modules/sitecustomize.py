"""TEST SHIM: PyPI's torchvision is a CUDA build, which registers operators that a CPU PyTorch doesn't declare."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


class DeclareTorchvisionOperators:
    """Before torchvision is imported, declare what its extension would have declared. Nothing calls them."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.torchvision_operators = library  # type: ignore[attr-defined]  # alive as long as the process
        return None


sys.meta_path.insert(0, DeclareTorchvisionOperators())  # type: ignore[arg-type]
