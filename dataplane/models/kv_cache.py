"""Keys and values of running sequences: one slot, a contiguous run of rows, per sequence.

             slot 0                  slot 1                       (per layer)        aside
    rows   0 . . . . . context   context . . . . 2 context        ...        NUM_ASIDE for each slot
           [ committed )( provisional )  unused

Row `slot * context + position` holds the keys, then the values, of all key-value heads at that position. Rows at and
beyond a sequence's committed length are provisional or stale: attention never looks at them, and they are finite.
Alternatives for one position lie aside until one of them is committed.
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch

NUM_ASIDE = 4  # rows of a slot for alternatives
KEY_BLOCK = 128  # keys are read in whole blocks; see attention.py


class KvCacheError(RuntimeError):
    """No slot is free, or a slot was used in a way that its bookkeeping forbids."""


class KvCache:
    """`num_slots` sequences of at most `max_context` positions each."""

    def __init__(
        self,
        *,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        num_slots: int,
        max_context: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.num_slots = num_slots
        self.max_context = max_context
        # Attention reads keys in blocks, so that every slot ends on a block's border.
        self.stride = -(-max_context // KEY_BLOCK) * KEY_BLOCK
        shape = (num_slots * (self.stride + NUM_ASIDE), 2 * num_kv_heads * head_dim)
        self.layers = [_zeros(shape, dtype, device) for _ in range(num_layers)]  # [rows, 2 * kv * dim]
        # Made once: a forward takes ten milliseconds, thirty calls of `data_ptr` in cold caches a part of one.
        self.addresses = (ctypes.c_void_p * num_layers)(*(layer.data_ptr() for layer in self.layers))
        self._free = list(range(num_slots - 1, -1, -1))
        self._lengths: dict[int, int] = {}

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_used_tokens(self) -> int:
        return sum(self._lengths.values())

    def allocate(self) -> int:
        """The lowest free slot, empty: low slots lie side by side, so that one attention call serves them all."""
        if not self._free:
            raise KvCacheError("no slot is free")
        slot = self._free.pop()
        self._lengths[slot] = 0
        return slot

    def free(self, slot: int) -> None:
        if self._lengths.pop(slot, None) is None:
            raise KvCacheError(f"slot {slot} is not in use")
        self._free.append(slot)
        self._free.sort(reverse=True)

    def length(self, slot: int) -> int:
        """Committed positions of a slot."""
        return self._lengths[slot]

    def commit(self, slot: int, length: int) -> None:
        """Positions 0..length of the slot are final from now on; it never shrinks."""
        if not self._lengths[slot] <= length <= self.max_context:
            raise KvCacheError(f"slot {slot} holds {self._lengths[slot]} of {self.max_context}, cannot hold {length}")
        self._lengths[slot] = length

    def row_aside(self, slot: int, index: int) -> int:
        """Where the slot's alternative `index` lies. Raises KvCacheError beyond NUM_ASIDE."""
        if not 0 <= index < NUM_ASIDE:
            raise KvCacheError(f"alternative {index} of at most {NUM_ASIDE}")
        return self.num_slots * self.stride + slot * NUM_ASIDE + index

    def adopt(self, slot: int, index: int, position: int) -> None:
        """The alternative takes its place in the sequence."""
        row, aside = slot * self.stride + position, self.row_aside(slot, index)
        for layer in self.layers:
            layer[row] = layer[aside]

    def read(self, slot: int, start: int, end: int) -> torch.Tensor:
        """A copy of positions start..end: [layers, end - start, 2 * kv * dim]."""
        row = slot * self.stride
        return torch.stack([layer[row + start : row + end] for layer in self.layers])

    def write(self, slot: int, start: int, block: torch.Tensor) -> None:
        """Put back what `read` returned."""
        row = slot * self.stride + start
        for layer, values in zip(self.layers, block, strict=True):
            layer[row : row + values.shape[0]] = values

    def check_integrity(self, running: set[int]) -> None:
        """Every slot is free or belongs to exactly one running sequence. Raises KvCacheError."""
        used, free = set(self._lengths), set(self._free)
        if used != running:
            raise KvCacheError(f"slots in use {sorted(used)}, sequences run in {sorted(running)}")
        if len(free) != len(self._free) or used & free or used | free != set(range(self.num_slots)):
            raise KvCacheError(f"slots lost or doubled: {sorted(used)} used, {sorted(self._free)} free")


def _zeros(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros that cost memory only where they are used: NumPy leaves fresh pages to the system, torch writes them."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = shape[0] * shape[1] * dtype.itemsize
    return torch.from_numpy(np.zeros(size, dtype=np.uint8)).view(dtype).view(shape)
