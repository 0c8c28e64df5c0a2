"""One admitted request while it runs: all its choices, whatever ends it, and exactly one settlement.

The generation lives in its own task, not in the handler's: a client that disconnects cancels the handler at any await,
but the engine must still be told, and the usage event must still be written.

    handler:     events() ...... role, deltas ............ ChoiceEnded ... Ended | Failed
    generation:  choices run -> all ended -> settle (usage event on disk) ->^
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from dataplane.contracts import StreamCoalescing, UsageStatus
from dataplane.engines.accounts import add_goodput
from dataplane.engines.base import Engine, GenerationRequest, SpeculationStats, TokenLogprob
from dataplane.errors import ApiError, EngineFailed, Unavailable
from dataplane.server.text import Codec, TextDelta, TextStream
from dataplane.sync.status import add_counts, add_positions

log = logging.getLogger(__name__)

# An engine that was told to abort ends at the next step boundary. If it takes longer than this, we stop waiting.
ABORT_SECONDS = 5.0
NOT_COALESCED = StreamCoalescing()
NOTHING = TextDelta("")


@dataclass(frozen=True, slots=True)
class Delta:
    index: int
    delta: TextDelta


@dataclass(frozen=True, slots=True)
class ChoiceEnded:
    index: int
    finish_reason: str  # "stop" or "length"


@dataclass(frozen=True, slots=True)
class Ended:
    """All choices are complete and the usage event is durable."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Failed:
    error: ApiError


Event = Delta | ChoiceEnded | Ended | Failed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request came to: as settled, billed and shown."""

    status: UsageStatus
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    output_tokens: tuple[tuple[int, ...], ...]  # by choice
    stats: SpeculationStats  # summed over the choices
    first_token_seconds: float | None = None  # after the start; None: there was no token


@dataclass(slots=True)
class _Choice:
    request: GenerationRequest
    text: TextStream
    tokens: list[int] = field(default_factory=list)
    held: TextDelta = NOTHING  # shown with the next part, where streams are coalesced
    cached_tokens: int = 0
    stats: SpeculationStats | None = None


class Generation:
    """Runs the choices of one request. `num_choices` of them share each prompt, in order."""

    def __init__(
        self,
        requests: Sequence[GenerationRequest],
        *,
        num_choices: int,
        engine: Engine,
        codec: Codec,
        stop: Sequence[str],
        settle: Callable[[Outcome], Awaitable[None]],
        timeout_seconds: float,
        coalescing: StreamCoalescing = NOT_COALESCED,
    ) -> None:
        self._engine = engine
        self._num_choices = num_choices
        self._settle = settle
        self._coalescing = coalescing
        eos = codec.eos_token_ids
        self._choices = [
            _Choice(
                request,
                TextStream(
                    codec.detokenizer(),
                    stop=stop,
                    hidden_token_ids=frozenset(request.stop_token_ids) | (frozenset() if request.ignore_eos else eos),
                ),
            )
            for request in requests
        ]
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._ended_early: UsageStatus | None = None
        self._started = time.monotonic()
        self._first_token_seconds: float | None = None
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run_choice(index)) for index in range(len(self._choices))]
        self._expiry = loop.call_later(timeout_seconds, self.end_early, "timeout")
        self._next_part = self._started  # when the mode is "interval"
        self._parts: asyncio.TimerHandle | None = None
        if coalescing.mode == "interval":
            self._show_parts()
        self.task = loop.create_task(self._run())

    async def events(self) -> AsyncIterator[Event]:
        """What happens, ending with Ended or Failed. Leaving early cancels the request."""
        try:
            while True:
                event = await self._events.get()
                yield event
                if isinstance(event, Ended | Failed):
                    return
        finally:
            self.end_early("client_cancelled")

    def end_early(self, status: UsageStatus) -> None:
        """Abort all choices; the first reason counts. Harmless after the end."""
        if self._ended_early is not None or all(task.done() for task in self._tasks):
            return
        self._ended_early = status
        for choice in self._choices:
            self._engine.abort(choice.request.request_id)
        loop = asyncio.get_running_loop()
        for task in self._tasks:
            loop.call_later(ABORT_SECONDS, task.cancel)

    async def _run(self) -> None:
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._expiry.cancel()
        if self._parts is not None:
            self._parts.cancel()
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, asyncio.CancelledError | EngineFailed):
                log.error("a choice failed", exc_info=failure)
        status: UsageStatus = self._ended_early or ("engine_error" if failures else "completed")
        outcome = self._outcome(status)
        try:
            await self._settle(outcome)
        except Exception:
            log.exception("a request could not be settled")
            self._events.put_nowait(Failed(Unavailable("The request could not be recorded.", retry_after=1.0)))
            return
        self._events.put_nowait(Ended(outcome) if status == "completed" else Failed(_error_of(status)))

    async def _run_choice(self, index: int) -> None:
        choice = self._choices[index]
        finish_reason: str | None = None
        try:
            async for chunk in self._engine.generate(choice.request):
                choice.cached_tokens = max(choice.cached_tokens, chunk.num_cached_tokens)
                choice.stats = chunk.stats or choice.stats
                if not choice.text.is_stopped:
                    self._show(index, chunk.token_ids, chunk.logprobs)
                    if choice.text.is_stopped:
                        self._engine.abort(choice.request.request_id)  # its last chunk still brings the statistics
                finish_reason = chunk.finish_reason or finish_reason
                if finish_reason == "error":
                    log.error("engine error: %s", chunk.error)
        except Exception:
            self.end_early("engine_error")
            raise
        if choice.text.is_stopped:
            finish_reason = "stop"
        if finish_reason not in ("stop", "length"):
            # Cancelled by us, which has its own status already, or an error of the engine, which ends all choices.
            self.end_early("engine_error")
            raise EngineFailed("the engine ended the request")
        if self._coalescing.mode == "interval":  # when the last token came is nobody's business either
            await asyncio.sleep(max(0.0, self._next_part - time.monotonic()))
        self._emit(index, choice.held + choice.text.finish())
        self._events.put_nowait(ChoiceEnded(index, finish_reason))

    def _show(self, index: int, token_ids: Sequence[int], logprobs: Sequence[TokenLogprob]) -> None:
        """Pass tokens on as visible text, up to a stop string; what comes after it was never asked for."""
        choice = self._choices[index]
        if self._first_token_seconds is None:
            self._first_token_seconds = time.monotonic() - self._started
        for position, token in enumerate(token_ids):
            choice.tokens.append(token)
            choice.held += choice.text.push(token, logprobs[position] if position < len(logprobs) else None)
            if choice.text.is_stopped:
                break
            if self._coalescing.mode == "tokens" and len(choice.tokens) % self._coalescing.tokens == 0:
                self._emit(index, choice.held)
        if self._coalescing.mode == "none":
            self._emit(index, choice.held)

    def _emit(self, index: int, delta: TextDelta) -> None:
        """What the client sees next of a choice."""
        self._choices[index].held = NOTHING
        if delta:
            self._events.put_nowait(Delta(index, delta))

    def _show_parts(self) -> None:
        """At fixed times since the start, whatever came meanwhile; nothing where nothing came."""
        for index, choice in enumerate(self._choices):
            self._emit(index, choice.held)
        self._next_part += self._coalescing.milliseconds / 1000
        loop = asyncio.get_running_loop()
        self._parts = loop.call_later(max(0.0, self._next_part - time.monotonic()), self._show_parts)

    def _outcome(self, status: UsageStatus) -> Outcome:
        firsts = self._choices[:: self._num_choices]  # the choices of one prompt share it: it counts once
        stats = [choice.stats for choice in self._choices if choice.stats is not None]
        return Outcome(
            status=status,
            prompt_tokens=sum(len(choice.request.prompt_tokens) for choice in firsts),
            cached_tokens=sum(choice.cached_tokens for choice in firsts),
            completion_tokens=sum(len(choice.tokens) for choice in self._choices),
            output_tokens=tuple(tuple(choice.tokens) for choice in self._choices),
            stats=sum_stats(stats, mode=self._choices[0].request.speculation.mode),
            first_token_seconds=self._first_token_seconds,
        )


def _error_of(status: UsageStatus) -> ApiError:
    if status == "timeout":
        return Unavailable("The request took too long.", code="timeout")
    if status == "client_cancelled":  # seen by the client only if the node is shutting down
        return Unavailable("The request was cancelled.", code="cancelled", retry_after=1.0)
    return EngineFailed("The engine failed on this request.")


def sum_stats(stats: Sequence[SpeculationStats], *, mode: str) -> SpeculationStats:
    """The statistics of several choices as one."""
    total = SpeculationStats(mode=mode)
    for one in stats:
        total = SpeculationStats(
            mode=one.mode,
            steps=total.steps + one.steps,
            drafted=total.drafted + one.drafted,
            accepted=total.accepted + one.accepted,
            per_position_drafted=add_positions(total.per_position_drafted, one.per_position_drafted),
            per_position_accepted=add_positions(total.per_position_accepted, one.per_position_accepted),
            drafted_by_source=add_counts(total.drafted_by_source, one.drafted_by_source),
            accepted_by_source=add_counts(total.accepted_by_source, one.accepted_by_source),
            speculator_version_id=one.speculator_version_id or total.speculator_version_id,
            draft_seconds=total.draft_seconds + one.draft_seconds,
            control_seconds=total.control_seconds + one.control_seconds,
            target_seconds=total.target_seconds + one.target_seconds,
            decode_seconds=total.decode_seconds + one.decode_seconds,
            relearning=total.relearning or one.relearning,
            goodput=add_goodput(total.goodput, one.goodput),
            trace=(*total.trace, *one.trace),
        )
    return total
