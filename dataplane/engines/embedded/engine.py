"""The embedded engine: one thread that schedules, steps and delivers; asyncio on the other side.

clients --submit/abort--> inbox | admit -> prefill one chunk -> speculative step -> deliver |--chunks--> clients
                                +----------------------- engine thread --------------------+
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable

import torch

from dataplane.engines.base import EngineStats, FinishReason, GenerationChunk, GenerationRequest
from dataplane.engines.embedded.calibrate import sweep_latencies
from dataplane.engines.embedded.prefix_cache import PrefixCache, PrefixChunk
from dataplane.engines.embedded.scheduler import Scheduler
from dataplane.engines.embedded.sequence import Sequence
from dataplane.engines.embedded.target import EmbeddedTarget
from dataplane.models.llama import LlamaModel
from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.step import speculative_step

log = logging.getLogger(__name__)

PREFILL_CHUNK = 64  # positions; also the unit of the prefix cache


class EngineStoppedError(RuntimeError):
    """The engine does not run (any more)."""


class EmbeddedEngine:
    """Implements `engines.base.Engine` on one device."""

    def __init__(
        self,
        model: LlamaModel,
        drafters: DrafterSet,
        controller: Controller,
        *,
        num_slots: int = 8,
        max_context: int = 2048,
        prefix_cache_bytes: int = 256 << 20,
        threads: int | None = None,
    ) -> None:
        """`max_context`: positions per request, at most the model's. `threads`: CPU threads of the forward pass."""
        self.model = model
        self.drafters = drafters
        self.controller = controller
        self.cache = model.new_cache(num_slots, max_context)
        self.target = EmbeddedTarget(model, self.cache)
        self.prefixes = PrefixCache(prefix_cache_bytes, PREFILL_CHUNK)
        self.num_failed_steps = 0
        self._threads = threads
        self._scheduler = Scheduler(self.cache)
        self._sequences: dict[str, Sequence] = {}  # by request id: waiting, running or in the inbox
        self._inbox: list[Sequence] = []
        self._aborted: set[str] = set()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def max_context(self) -> int:
        return self.cache.max_context

    # ------------------------------------------------------------------------------------------- any thread

    def start(self, *, sweep: bool = True) -> None:
        """Start the engine's thread; returns once the controller's latency table is measured (unless not `sweep`)."""
        if self._thread is not None:
            raise RuntimeError("the engine has been started already")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready, sweep), name="engine", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Cancel what runs and end the thread. The engine can't be started again."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self.drafters.close()

    @property
    def is_alive(self) -> bool:
        """Does the loop turn?"""
        return self._thread is not None and self._thread.is_alive() and not self._stopping

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationChunk]:
        """Stream the request's tokens. Closing the iterator early aborts the request.

        Raises ValueError for a request that admission should have refused, EngineStoppedError.
        """
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[GenerationChunk] = asyncio.Queue()

        def deliver(chunk: GenerationChunk) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)

        self.submit(request, deliver)
        finished = False
        try:
            while not finished:
                chunk = await chunks.get()
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            if not finished:
                self.abort(request.request_id)

    def submit(self, request: GenerationRequest, deliver: Callable[[GenerationChunk], None]) -> None:
        """`generate` for callers without an event loop: `deliver` gets every chunk, in the engine's thread."""
        if not request.prompt_tokens or request.max_tokens < 1:
            raise ValueError("a request needs at least one prompt token and max_tokens of at least 1")
        if len(request.prompt_tokens) + request.max_tokens > self.max_context:
            raise ValueError(f"prompt and max_tokens exceed the context of {self.max_context} tokens")
        sequence = Sequence(request, deliver)
        with self._wake:
            if not self.is_alive:
                raise EngineStoppedError("the engine does not run")
            if request.request_id in self._sequences:
                raise ValueError(f"request id {request.request_id!r} is already running")
            self._sequences[request.request_id] = sequence
            self._inbox.append(sequence)
            self._wake.notify()

    def abort(self, request_id: str) -> None:
        """End a request at the next step boundary; unknown ids are ignored."""
        with self._wake:
            if request_id in self._sequences:
                self._aborted.add(request_id)
                self._wake.notify()

    def forget(self, project_id: str) -> None:
        """Drop what was learned from a project; requests that wait or run leave nothing behind either."""
        with self._wake:
            for sequence in self._sequences.values():
                if sequence.project_id == project_id:
                    sequence.forget()
            self.drafters.purge(project_id)
            self._wake.notify()  # what is to be forgotten waits for no request

    def stats(self) -> EngineStats:
        running = len(self._scheduler.running)
        return EngineStats(
            running=running,
            waiting=max(0, len(self._sequences) - running),
            num_slots=self.cache.num_slots,
            kv_used_tokens=self.cache.num_used_tokens,
            kv_capacity_tokens=self.cache.num_slots * self.cache.max_context,
            prefix_cache_hits=self.prefixes.num_hits,
            prefix_cache_queries=self.prefixes.num_queries,
            drafter_errors=self.drafters.errors,
        )

    # ------------------------------------------------------------------------------------------ engine's thread

    @torch.inference_mode()  # of this thread: entered once, not at every step
    def _run(self, ready: threading.Event, sweep: bool) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # OpenMP keeps it per thread: it must be called in this one
        if sweep:
            try:
                sweep_latencies(self.target, self.drafters, self.controller)
            except Exception:
                log.exception("measuring the latency table failed; the controller starts from its defaults")
        ready.set()
        try:
            while self._receive():
                self._turn()
            reason: FinishReason = "cancelled"
            error = None
        except Exception as failure:  # a fault of the engine itself: everybody is told, nobody waits for ever
            log.exception("the engine has died")
            reason = "error"
            error = f"the engine has died: {failure}"
        with self._wake:
            self._stopping = True
            left = list(self._sequences.values())
        for sequence in left:
            self._finish(sequence, reason, error=error)

    def _turn(self) -> None:
        """One turn of the loop: at most one chunk of a prompt, and one step of everything that decodes."""
        self.drafters.swap_if_ready()
        self._scheduler.admit()
        if (prefilling := self._scheduler.next_prefill()) is not None:
            self._guarded([prefilling], self._prefill)
        if decoding := self._scheduler.decoding():
            self._guarded(decoding, self._step)
        if self._scheduler.is_idle:
            self._scheduler.check_integrity()
            self.prefixes.check_integrity()

    def _receive(self) -> bool:
        """Take in what clients want; sleeps while there is nothing to do. False: stop."""
        with self._wake:
            while not self._has_work():
                self._wake.wait()
            inbox, self._inbox = self._inbox, []
            aborted, self._aborted = self._aborted, set()
            stopping = self._stopping
        for sequence in inbox:
            self._scheduler.add(sequence)
        for request_id in aborted:
            if request_id in self._sequences:
                self._finish(self._sequences[request_id], "cancelled")
        return not stopping

    def _has_work(self) -> bool:
        asked = self._inbox or self._aborted or self._stopping or self.drafters.has_memory_changes
        return bool(asked) or not self._scheduler.is_idle

    def _prefill(self, sequences: list[Sequence]) -> None:
        """Read the prompt's next chunk, or as many as the prefix cache holds. The last token is the first root."""
        (sequence,) = sequences
        prompt = sequence.request.prompt_tokens
        keys = self.prefixes.keys(sequence.request.cache_salt, prompt[:-1])
        while not sequence.is_prefilled:
            start = sequence.num_prefilled
            end = min(start + PREFILL_CHUNK, len(prompt) - 1)
            key = keys[start // PREFILL_CHUNK] if start // PREFILL_CHUNK < len(keys) else None
            cached = self.prefixes.get(key) if key is not None else None
            if cached is not None:
                self.cache.write(sequence.slot, start, cached.keys_values)
                self.cache.commit(sequence.slot, end)
                features = cached.features
                sequence.num_cached_tokens += end - start
            else:
                features = self.target.prefill(sequence.slot, prompt[start:end])
                if key is not None:
                    self.prefixes.put(key, PrefixChunk(self.cache.read(sequence.slot, start, end), features))
            self.drafters.extend(sequence, start, prompt[start + 1 : end + 1], features)
            sequence.num_prefilled = end
            if cached is None:
                return

    def _step(self, sequences: list[Sequence]) -> None:
        outcomes, timing = speculative_step(sequences, self.target, self.drafters, self.controller)
        for index, (sequence, outcome) in enumerate(zip(sequences, outcomes, strict=True)):
            sequence.tally.explain(outcome, timing, len(sequences), self.controller.explain(index))
            chunk, finish = sequence.append(outcome, timing, len(sequences), self._end_tokens(sequence.request))
            self._deliver(sequence, chunk)
            if finish is not None:
                self._finish(sequence, finish)

    def _end_tokens(self, request: GenerationRequest) -> frozenset[int]:
        eos = () if request.ignore_eos else self.model.config.eos_token_ids
        return frozenset((*request.stop_token_ids, *eos))

    def _guarded(self, sequences: list[Sequence], work: Callable[[list[Sequence]], None]) -> None:
        """Run `work`; if it raises, find out which of its sequences are to blame, and fail only these."""
        try:
            work(sequences)
        except Exception as error:
            self.num_failed_steps += 1
            log.exception("a step over %d sequences failed", len(sequences))
            if len(sequences) == 1:
                self._finish(sequences[0], "error", error=f"{type(error).__name__}: {error}")
                return
            for sequence in sequences:
                if sequence in self._scheduler.running:  # the step may have finished some before it failed
                    self._guarded([sequence], work)

    def _finish(self, sequence: Sequence, reason: FinishReason, *, error: str | None = None) -> None:
        with self._wake:
            if self._sequences.pop(sequence.request.request_id, None) is None:
                return
        relearning = self.controller.relearning(sequence.project_id, sequence.deployment_id)
        adaptive = sequence.speculation.mode == "adaptive"
        version = self.drafters.version_of(sequence.deployment_id) if adaptive else None
        if sequence.slot >= 0:
            self.drafters.release(sequence)
        self._scheduler.remove(sequence)
        stats = sequence.tally.stats(sequence.speculation.mode, speculator_version_id=version, relearning=relearning)
        cached = sequence.num_cached_tokens
        self._deliver(
            sequence, GenerationChunk((), finish_reason=reason, num_cached_tokens=cached, stats=stats, error=error)
        )

    def _deliver(self, sequence: Sequence, chunk: GenerationChunk) -> None:
        """A client whose event loop is gone can't be told; its request is aborted."""
        try:
            sequence.deliver(chunk)
        except Exception:
            log.warning("request %s has lost its client", sequence.request.request_id)
            self.abort(sequence.request.request_id)
