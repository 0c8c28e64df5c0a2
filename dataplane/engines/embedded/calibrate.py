"""Measure what a step costs on this machine, before the first request: the controller's latency table."""

from __future__ import annotations

import time

from dataplane.engines.base import GenerationRequest
from dataplane.engines.embedded.sequence import Sequence
from dataplane.engines.embedded.target import EmbeddedTarget
from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.types import Candidates, Plan, Proposal

CONTEXT = 256  # positions of the sequences that are measured
_PROJECT = "latency-sweep"


def sweep_latencies(target: EmbeddedTarget, drafters: DrafterSet, controller: Controller) -> None:
    """Fill `controller.table` with forwards and drafts over throw-away sequences; leaves nothing behind."""
    cache = target.cache
    context = min(CONTEXT, cache.max_context // 2)
    batches = [batch for batch in (1, 2, 4, 8, 16) if batch <= cache.num_slots]
    sequences = []
    for index in range(batches[-1]):
        prompt = tuple((7 * position + index) % target.model.config.vocab_size for position in range(context))
        request = GenerationRequest(f"{_PROJECT}-{index}", _PROJECT, _PROJECT, "", prompt, max_tokens=64)
        sequence = Sequence(request, lambda chunk: None)
        sequence.slot = cache.allocate()
        sequences.append(sequence)
    try:
        for sequence in sequences:
            features = target.prefill(sequence.slot, sequence.tokens[:-1])
            drafters.extend(sequence, 0, sequence.tokens[1:], features)

        def measure(batch: int, rows: int) -> float:
            proposals = [Proposal(tuple(sequence.tokens[: rows - 1])) for sequence in sequences[:batch]]
            started = time.perf_counter()
            target.score(sequences[:batch], proposals)
            return time.perf_counter() - started

        def measure_draft(batch: int, lookahead: int) -> float:
            plans = [Plan("static", lookahead)] * batch
            started = time.perf_counter()
            drafters.propose(sequences[:batch], plans, [Candidates()] * batch)
            return time.perf_counter() - started

        drafts = bool(drafters.candidates(sequences[:1])[0].neural)
        measure(1, 1)  # the first call allocates
        controller.table.sweep(
            measure, measure_draft if drafts else None, batches=batches, rows_per_sequence=(1, 2, 4, 8, 16), repeats=2
        )
    finally:
        for sequence in sequences:
            drafters.release(sequence)
            cache.free(sequence.slot)
        drafters.purge(_PROJECT)
