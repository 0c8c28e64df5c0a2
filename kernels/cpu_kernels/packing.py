"""Weights in the order in which the kernels read them, in 2 MB pages where the system has them."""

from __future__ import annotations

import contextlib
import mmap

import torch

PANEL = 16  # outputs side by side; source/linear.h draws the layout


class PackedLinear:
    """One matrix [columns, size] of bf16 in panels; the last panel is filled up with zeros."""

    def __init__(self, panels: torch.Tensor, columns: int, size: int) -> None:
        self.panels = panels  # [ceil(columns / 16), size / 2, 16, 2] bf16
        self.columns = columns
        self.size = size

    @property
    def address(self) -> int:
        return self.panels.data_ptr()


class PackedWeights:
    """An arena for the weights that one model reads at every step; matrices lie in it one after the other."""

    def __init__(self, num_weights: int) -> None:
        """`num_weights`: what `padded_size` says of all matrices that will come, summed."""
        # Private and advised before anything is written: the first touch then takes whole huge pages.
        self._memory = mmap.mmap(-1, max(2 * num_weights, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError, AttributeError):
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self.values = torch.frombuffer(self._memory, dtype=torch.bfloat16)
        self._used = 0

    def add(self, weight: torch.Tensor) -> PackedLinear:  # [columns, size]
        """Pack a matrix behind the ones before it. `size` must be even."""
        columns, size = weight.shape
        count = padded_size(columns, size)
        panels = self.values[self._used : self._used + count].view(-1, size // 2, PANEL, 2)
        self._used += count
        whole, rest = divmod(columns, PANEL)
        rows = weight.to(torch.bfloat16)
        panels[:whole].copy_(rows[: whole * PANEL].reshape(whole, PANEL, size // 2, 2).transpose(1, 2))
        if rest:
            panels[whole, :, :rest].copy_(rows[whole * PANEL :].reshape(rest, size // 2, 2).transpose(0, 1))
        return PackedLinear(panels, columns, size)


def padded_size(columns: int, size: int) -> int:
    """Weights that a packed matrix takes in the arena."""
    return -(-columns // PANEL) * PANEL * size


def pack(weight: torch.Tensor) -> PackedLinear:  # [columns, size]
    """A matrix in an arena of its own."""
    return PackedWeights(padded_size(*weight.shape)).add(weight)
