"""Low-rank changes of a linear layer, another one for each row of a batch: x W^T + (x A^T) B^T.

    inputs [n, in] --shrink (row, part of in)--> partial [n, parts, rank] --expand (row, part of out)--> outputs += ...

A row's delta is found through a table: row -> slot -> addresses of A and B and their rank. Nothing is gathered or
padded into stacks: deltas stay where they were loaded, ranks may be mixed, a swap rewrites one row of the table (so a
captured CUDA graph sees it), and a row without a delta (slot -1) is neither read nor written. In the manner of Punica's
SGMV and BGMV (Chen et al. 2023, arXiv 2310.18547). A row's sums have one order, whatever else is in the batch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import triton
import triton.language as tl

from spec_kernels.fused import Launch, launch_kernel

MAX_RANK = 64
PART = 512  # inputs or outputs per program

LowRank = tuple[torch.Tensor, torch.Tensor]  # A [rank, in], B [out, rank]


class DeltaTable:
    """Deltas of one layer by slot: their addresses on the device, and references that keep them alive."""

    def __init__(self, num_slots: int, inner: int, outer: int, *, dtype: torch.dtype, device: torch.device) -> None:
        """A table for layers [outer, inner]; every slot is empty."""
        self.shape, self.dtype = (outer, inner), dtype
        self.entries = torch.zeros((num_slots, 3), dtype=torch.int64, device=device)  # address of A, of B, rank
        self._held: list[LowRank | None] = [None] * num_slots

    def put(self, slot: int, delta: LowRank | None) -> None:
        """Let `slot` hold `delta`, or nothing, from the next launch on. Raises ValueError if it doesn't fit."""
        self.fill({slot: delta})

    def fill(self, deltas: dict[int, LowRank | None]) -> None:
        """`put` for many slots with one copy to the device."""
        rows = []
        for delta in deltas.values():
            if delta is None:
                rows.append([0, 0, 0])
                continue
            down, up = delta
            self._check(down, up)
            rows.append([down.data_ptr(), up.data_ptr(), down.shape[0]])
        slots = torch.tensor(list(deltas), dtype=torch.int64)
        device = self.entries.device
        self.entries[slots.to(device)] = torch.tensor(rows, dtype=torch.int64).view(-1, 3).to(device)
        for slot, delta in deltas.items():
            self._held[slot] = delta

    def _check(self, down: torch.Tensor, up: torch.Tensor) -> None:
        outer, inner = self.shape
        rank = down.shape[0]
        if down.shape != (rank, inner) or up.shape != (outer, rank) or not 1 <= rank <= MAX_RANK:
            raise ValueError(f"A {list(down.shape)} and B {list(up.shape)} do not fit a layer of {list(self.shape)}")
        for tensor in (down, up):
            if tensor.dtype != self.dtype or tensor.device.type != self.entries.device.type:
                raise ValueError(f"a delta of {tensor.dtype} on {tensor.device}, expected {self.dtype}")
            if not tensor.is_contiguous():
                raise ValueError("a delta's factors must be contiguous")


def add_deltas(
    outputs: torch.Tensor,  # [n, out], changed in place
    inputs: torch.Tensor,  # [n, in]
    slots: torch.Tensor,  # int32 [n] slot of each row, -1: no delta
    table: DeltaTable,
    *,
    part: int = PART,
    launch: Launch = launch_kernel,
) -> None:
    """outputs[i] += delta of slots[i] applied to inputs[i]. Two launches; no synchronisation, nothing from the host."""
    rows, inner = inputs.shape
    outer = outputs.shape[1]
    if table.shape != (outer, inner) or outputs.shape[0] != rows or slots.shape != (rows,):
        raise ValueError(f"inputs {list(inputs.shape)}, outputs {list(outputs.shape)}, layer {list(table.shape)}")
    if outputs.stride(1) != 1 or inputs.stride(1) != 1:
        raise ValueError("inputs and outputs must be contiguous within a row")
    if rows == 0:
        return
    parts = -(-inner // part)
    partial = torch.empty((rows, parts, MAX_RANK), dtype=torch.float32, device=inputs.device)
    launch(
        shrink_kernel, (rows, parts), inputs, inputs.stride(0), slots, table.entries, partial, inner, parts,
        PART=part, MAX_RANK=MAX_RANK, num_warps=4,
    )  # fmt: skip
    launch(
        expand_kernel, (rows, -(-outer // part)), outputs, outputs.stride(0), slots, table.entries, partial, outer,
        parts,
        PART=part, MAX_RANK=MAX_RANK, num_warps=4,
    )  # fmt: skip


def add_deltas_reference(
    outputs: torch.Tensor,  # [n, out]
    inputs: torch.Tensor,  # [n, in]
    slots: Sequence[int],  # [n]
    deltas: Callable[[int], LowRank],
) -> torch.Tensor:  # [n, out] in the dtype of `outputs`
    """The specification of `add_deltas`: sums in float32, rounded once."""
    result = outputs.clone()
    for row, slot in enumerate(slots):
        if slot >= 0:
            down, up = deltas(slot)
            change = (inputs[row].float() @ down.float().T) @ up.float().T
            result[row] = (outputs[row].float() + change).to(outputs.dtype)
    return result


@triton.jit(do_not_specialize=["parts"])
def shrink_kernel(
    inputs,  # [n, in]
    stride,
    slots,  # int32 [n]
    entries,  # int64 [slots, 3]
    partial,  # out float32 [n, parts, MAX_RANK]
    inner,
    parts,
    PART: tl.constexpr,
    MAX_RANK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    slot = tl.load(slots + row)
    if slot >= 0:
        rank = tl.load(entries + slot * 3 + 2).to(tl.int32)
        if rank > 0:
            down = tl.load(entries + slot * 3).to(tl.pointer_type(inputs.dtype.element_ty))
            down = tl.multiple_of(down, 16)
            lanes = part * PART + tl.arange(0, PART)
            inside = lanes < inner
            values = tl.load(inputs + row * stride + lanes, mask=inside, other=0.0).to(tl.float32)
            for first in range(0, rank, 8):
                ranks = first + tl.arange(0, 8)
                chosen = (ranks < rank)[:, None] & inside[None, :]
                factors = tl.load(down + ranks[:, None] * inner + lanes[None, :], mask=chosen, other=0.0)
                sums = tl.sum(factors.to(tl.float32) * values[None, :], axis=1)
                tl.store(partial + (row * parts + part) * MAX_RANK + ranks, sums, mask=ranks < rank)


@triton.jit(do_not_specialize=["parts"])
def expand_kernel(
    outputs,  # in, out [n, out]
    stride,
    slots,  # int32 [n]
    entries,  # int64 [slots, 3]
    partial,  # float32 [n, parts, MAX_RANK]
    outer,
    parts,
    PART: tl.constexpr,
    MAX_RANK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row)
    if slot >= 0:
        rank = tl.load(entries + slot * 3 + 2).to(tl.int32)
        if rank > 0:
            up = tl.load(entries + slot * 3 + 1).to(tl.pointer_type(outputs.dtype.element_ty))
            up = tl.multiple_of(up, 16)
            lanes = tl.program_id(1) * PART + tl.arange(0, PART)
            inside = lanes < outer
            place = outputs + row * stride + lanes
            sums = tl.load(place, mask=inside, other=0.0).to(tl.float32)
            for first in range(0, rank, 8):
                ranks = first + tl.arange(0, 8)
                small = tl.full((8,), 0.0, tl.float32)
                for part in range(parts):
                    small += tl.load(partial + (row * parts + part) * MAX_RANK + ranks, mask=ranks < rank, other=0.0)
                chosen = inside[:, None] & (ranks < rank)[None, :]
                offsets = lanes[:, None] * rank + ranks[None, :]
                factors = tl.load(up + offsets, mask=chosen, other=0.0).to(tl.float32)
                sums += tl.sum(factors * small[None, :], axis=1)
            tl.store(place, sums.to(outputs.dtype.element_ty), mask=inside)
