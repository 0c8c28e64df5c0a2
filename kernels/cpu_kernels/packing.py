"""Weights in the order in which the kernels read them, in 2 MB pages where the system has them."""

from __future__ import annotations

import contextlib
import ctypes
import mmap

import torch

PANEL = 16  # outputs side by side; source/linear.h and source/bytes.h draw the layouts
QUAD_ORDER = (0, 2, 1, 3)  # of four inputs of an output with weights of 8 bits


class Matrix(ctypes.Structure):
    """`Matrix` of source/forward.cpp, `ByteMatrix` of source/bytes.h."""

    _fields_ = (("panels", ctypes.c_void_p), ("scales", ctypes.c_void_p))


class PackedLinear:
    """One matrix [columns, size] in panels; the last panel is filled up with zeros."""

    def __init__(self, panels: torch.Tensor, columns: int, size: int, scales: torch.Tensor | None = None) -> None:
        self.panels = panels  # [ceil(columns / 16), size / 2, 16, 2] bf16 or [ceil(columns / 16), size / 4, 16, 4] int8
        self.columns = columns
        self.size = size
        self.scales = scales  # float32 [columns, filled up]: of weights of 8 bits

    @property
    def address(self) -> int:
        return self.panels.data_ptr()

    def pointer(self) -> Matrix:
        """What the kernels take; valid as long as this object lives."""
        return Matrix(self.address, None if self.scales is None else self.scales.data_ptr())


class PackedWeights:
    """An arena for the weights that one model reads at every step; matrices lie in it one after the other."""

    def __init__(self, num_weights: int, *, in_bytes: bool = False) -> None:
        """`num_weights`: what `padded_size` says of all matrices that will come, summed. `in_bytes`: with 8 bits each,
        else in bf16."""
        self.in_bytes = in_bytes
        # Private and advised before anything is written: the first touch then takes whole huge pages.
        size = num_weights if in_bytes else 2 * num_weights
        self._memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError, AttributeError):
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self.values = torch.frombuffer(self._memory, dtype=torch.int8 if in_bytes else torch.bfloat16)
        self._used = 0

    def add(self, weight: torch.Tensor) -> PackedLinear:  # [columns, size]
        """Pack a matrix behind the ones before it. `size` must be even, with 8 bits a multiple of four."""
        columns, size = weight.shape
        count = padded_size(columns, size)
        values = self.values[self._used : self._used + count]
        self._used += count
        if self.in_bytes:
            whole, scales = to_bytes(weight)
            quads = whole.view(-1, PANEL, size // 4, 4)[..., QUAD_ORDER].transpose(1, 2)
            panels = values.view(quads.shape).copy_(quads)
            return PackedLinear(panels, columns, size, scales)
        panels = values.view(-1, size // 2, PANEL, 2)
        whole_panels, rest = divmod(columns, PANEL)
        rows = weight.to(torch.bfloat16)
        split = whole_panels * PANEL
        panels[:whole_panels].copy_(rows[:split].reshape(whole_panels, PANEL, size // 2, 2).transpose(1, 2))
        if rest:
            panels[whole_panels, :, :rest].copy_(rows[split:].reshape(rest, size // 2, 2).transpose(0, 1))
        return PackedLinear(panels, columns, size)


def to_bytes(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[columns, size] as whole numbers of 8 bits, int8, and their scales, one per column; filled up to whole panels."""
    columns, size = weight.shape
    padded = torch.zeros(-(-columns // PANEL) * PANEL, size)
    padded[:columns] = weight
    scales = padded.abs().amax(1) / 127
    return (padded / scales.clamp_min(1e-30)[:, None]).round_().to(torch.int8), scales


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """What a matrix [columns, size] with weights of 8 bits computes with, float32."""
    whole, scales = to_bytes(weight)
    return (whole.float() * scales[:, None])[: len(weight)]


def padded_size(columns: int, size: int) -> int:
    """Weights that a packed matrix takes in the arena."""
    return -(-columns // PANEL) * PANEL * size


def pack(weight: torch.Tensor, *, in_bytes: bool = False) -> PackedLinear:  # [columns, size]
    """A matrix in an arena of its own."""
    return PackedWeights(padded_size(*weight.shape), in_bytes=in_bytes).add(weight)
