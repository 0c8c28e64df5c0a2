"""The smallest engine that keeps the contract: one sequence at a time, the real speculative step, a known target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import count

from dataplane.contracts import LoadedVersion
from dataplane.engines.base import EngineStats, FinishReason, GenerationChunk, GenerationRequest, TokenLogprob
from dataplane.engines.tally import Tally
from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import Desired, DrafterSet
from dataplane.speculation.step import speculative_step
from tests.fakes import FakeDrafter, FakeSequence, FakeTarget


class FakeEngine:
    """Implements `engines.base.Engine` over `FakeTarget`, in the caller's event loop."""

    max_context = 300

    def __init__(self, target: FakeTarget, vocab_size: int) -> None:
        self._target = target
        self._drafters = DrafterSet(FakeDrafter(target), vocab_size=vocab_size)
        self._controller = Controller()
        self._running: dict[str, FakeSequence] = {}
        self._aborted: set[str] = set()
        self._slots = count()

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationChunk]:
        if not request.prompt_tokens or request.max_tokens < 1:
            raise ValueError("a request needs at least one prompt token and max_tokens of at least 1")
        if len(request.prompt_tokens) + request.max_tokens > self.max_context:
            raise ValueError("too long")
        if request.request_id in self._running:
            raise ValueError("this request id is already running")
        sequence = FakeSequence(
            list(request.prompt_tokens),
            slot=next(self._slots),
            project_id=request.project_id,
            deployment_id=request.deployment_id,
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            speculation=request.speculation,
            num_logprobs=request.num_logprobs,
        )
        self._running[request.request_id] = sequence
        tally, finish = Tally(traced=request.trace), None
        try:
            while finish is None:
                await asyncio.sleep(0)
                self._drafters.swap_if_ready()
                (outcome,), timing = speculative_step([sequence], self._target, self._drafters, self._controller)
                tally.add(outcome, timing, 1)
                tally.explain(outcome, timing, 1, self._controller.explain(0))
                kept, finish = _cut(outcome.new_tokens[: sequence.num_remaining], request.stop_token_ids)
                sequence.tokens.extend(kept)
                yield GenerationChunk(kept, tuple(map(TokenLogprob, kept, outcome.logprobs)))
                if finish is None and request.request_id in self._aborted:
                    finish = "cancelled"
                elif finish is None and sequence.num_remaining <= 0:
                    finish = "length"
            version = self._drafters.version_of(request.deployment_id)
            yield GenerationChunk(
                (),
                finish_reason=finish,
                stats=tally.stats(request.speculation.mode, speculator_version_id=version),
            )
        finally:
            del self._running[request.request_id]
            self._aborted.discard(request.request_id)
            self._drafters.release(sequence)
            self._target.committed.pop(sequence.slot, None)

    def abort(self, request_id: str) -> None:
        if request_id in self._running:
            self._aborted.add(request_id)

    def stats(self) -> EngineStats:
        return EngineStats(len(self._running), 0, 8, 0, 8 * self.max_context, 0, 0, self._drafters.errors)

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        return self._drafters.refresh(desired)

    def forget(self, project_id: str) -> None:
        self._drafters.purge(project_id)


def _cut(tokens: tuple[int, ...], stops: tuple[int, ...]) -> tuple[tuple[int, ...], FinishReason | None]:
    for index, token in enumerate(tokens):
        if token in stops:
            return tokens[: index + 1], "stop"
    return tokens, None
