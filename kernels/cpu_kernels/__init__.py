"""A Llama forward pass for few rows on a CPU, at the speed at which memory delivers the weights.

C++ behind ctypes; where it can't be compiled or the processor lacks AVX2, callers keep to PyTorch.
"""

from __future__ import annotations

from cpu_kernels.build import BuildError
from cpu_kernels.library import Library, load_library
from cpu_kernels.packing import PackedLinear, PackedWeights, pack

__all__ = ["BuildError", "Library", "PackedLinear", "PackedWeights", "load_library", "pack"]
