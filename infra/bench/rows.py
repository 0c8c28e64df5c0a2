"""How much more a forward pass over eight rows costs than over one: what verifying seven drafted tokens costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from dataplane.models.attention import Span
from dataplane.models.generate import prefill
from infra.bench.stage import Stage

_CONTEXT = 256
_ROUNDS = 25


@dataclass(frozen=True, slots=True)
class RowsRun:
    """CPU seconds of the process for two passes, one right after the other, logits included."""

    one: float
    eight: float


def measure_rows(stage: Stage) -> list[RowsRun]:
    """Rows of one sequence at position 256, with the stage's threads."""
    model = stage.model
    cache = model.new_cache(1, _CONTEXT + 8)
    slot = cache.allocate()
    for chunk in prefill(model, cache, slot, range(_CONTEXT)):
        del chunk

    def seconds(rows: int) -> float:
        started = time.process_time()
        hidden, _ = model.forward(torch.arange(rows), model.plan([Span(slot, _CONTEXT, rows)], cache), cache)
        model.logits(hidden)
        return time.process_time() - started

    seconds(1), seconds(8)  # the first passes allocate
    return [RowsRun(seconds(1), seconds(8)) for _ in range(_ROUNDS)]
