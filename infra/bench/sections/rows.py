"""How much more a forward pass over eight rows costs than over one: what verifying seven drafted tokens costs."""

from __future__ import annotations

import time

import torch

from dataplane.models.attention import Span
from dataplane.models.generate import prefill
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.statistics import interval_record, paired_ratio
from infra.bench.store import Record

_CONTEXT = 256
_COUNTS = (1, 2, 4, 8, 16)
_ROUNDS = 60


def run(context: Context, box: Box, report: Report) -> Record:
    """CPU seconds of the process, logits included, for passes one right after the other, at position 256."""
    model = context.stage.model
    cache = model.new_cache(1, _CONTEXT + max(_COUNTS))
    slot = cache.allocate()
    for chunk in prefill(model, cache, slot, range(_CONTEXT)):
        del chunk

    def seconds(rows: int) -> float:
        started = time.process_time()
        hidden, _ = model.forward(torch.arange(rows), model.plan([Span(slot, _CONTEXT, rows)], cache), cache)
        model.logits(hidden)
        return time.process_time() - started

    for rows in _COUNTS:
        seconds(rows)  # the first passes allocate
    rounds = [[seconds(rows) for rows in _COUNTS] for _ in box.rounds(range(_ROUNDS), least=5)]
    ones = [one[0] for one in rounds]
    ratios = {
        str(rows): interval_record(paired_ratio([one[place] for one in rounds], ones))
        for place, rows in enumerate(_COUNTS)
    }
    report(f"{model.kernels}: rows over one row " + ", ".join(f"{n} {r['value']:.2f}" for n, r in ratios.items()))
    best = [min(one[place] for one in rounds) / context.stage.threads for place in range(len(_COUNTS))]
    return {"kernels": model.kernels, "rows": list(_COUNTS), "over_one": ratios, "best_seconds": best}
