"""Tenants' deltas on an accelerator: every row's own, all rows in two launches (`spec_kernels.deltas`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dataplane.speculation.drafters.checkpoint import EagleConfig
from dataplane.speculation.drafters.delta import DELTA_MODULES, TenantDelta
from spec_kernels.deltas import DeltaTable, add_deltas


class BatchedDeltas:
    """Slots for the deltas that draft at the moment. A delta takes one when it is first used.

    When all are taken, those that don't draft in this step make room: an entry is an address, so that costs nothing.
    """

    def __init__(self, config: EagleConfig, like: torch.Tensor, *, num_slots: int = 256) -> None:
        """`like`: dtype and device of the drafter, and so of its deltas."""
        shapes = config.shapes()
        self._tables = {
            module: DeltaTable(
                num_slots,
                shapes[f"{module}.weight"][1],
                shapes[f"{module}.weight"][0],
                dtype=like.dtype,
                device=like.device,
            )
            for module in DELTA_MODULES
        }
        self._device = like.device
        self._free = list(range(num_slots))
        self._slots: dict[int, tuple[int, TenantDelta]] = {}  # by id(delta); holding it keeps the id its own

    def slots(self, deltas: Sequence[TenantDelta | None]) -> torch.Tensor:  # int32 [len(deltas)]
        """The slot of each row's delta, -1 where it has none. Raises ValueError for more deltas than slots."""
        wanted = {id(delta): delta for delta in deltas if delta is not None}
        fresh = [delta for key, delta in wanted.items() if key not in self._slots]
        if len(fresh) > len(self._free):
            for key in [key for key in self._slots if key not in wanted]:
                self._free.append(self._slots.pop(key)[0])
        if len(fresh) > len(self._free):
            raise ValueError(f"{len(wanted)} deltas in one step are more than there are slots")
        placed = {self._free.pop(): delta for delta in fresh}
        self._slots |= {id(delta): (slot, delta) for slot, delta in placed.items()}
        if placed:
            for module, table in self._tables.items():
                table.fill({slot: delta.low_rank[module] for slot, delta in placed.items()})
        rows = [-1 if delta is None else self._slots[id(delta)][0] for delta in deltas]
        return torch.tensor(rows, dtype=torch.int32).to(self._device, non_blocking=True)

    def add(self, module: str, outputs: torch.Tensor, inputs: torch.Tensor, slots: torch.Tensor) -> None:
        """outputs [n, out] += each row's delta of `module` applied to inputs [n, in]."""
        add_deltas(outputs, inputs, slots, self._tables[module])
