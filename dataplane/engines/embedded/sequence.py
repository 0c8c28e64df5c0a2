"""One request inside the engine: its tokens, its place in the cache, and what it has cost so far."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dataplane.engines.accounts import MAX_TRACED_STEPS, Goodput, StepTrace
from dataplane.engines.base import FinishReason, GenerationChunk, GenerationRequest, SpeculationStats, TokenLogprob
from dataplane.speculation.controller import Explanation
from dataplane.speculation.types import SamplingParams, SpeculationPolicy, StepOutcome, StepTiming, memory_scope


@dataclass(slots=True, eq=False)
class Sequence:
    """A running (or waiting) request; satisfies `speculation.types.SequenceView`.

    tokens:  [ prompt ..................... ][ output .. root ]
    cache:   [ num_prefilled ... ) while prefilling, then everything but the root
    """

    request: GenerationRequest
    deliver: Callable[[GenerationChunk], None]  # hands a chunk to the client; called by the engine's thread
    clock: Callable[[], float] = time.perf_counter
    slot: int = -1
    num_prefilled: int = 0
    num_cached_tokens: int = 0
    tokens: list[int] = field(default_factory=list)
    speculation: SpeculationPolicy = field(init=False)
    _steps: int = 0
    _drafted_at: Counter[int] = field(default_factory=Counter)
    _accepted_at: Counter[int] = field(default_factory=Counter)
    _drafted_by: Counter[str] = field(default_factory=Counter)
    _accepted_by: Counter[str] = field(default_factory=Counter)
    _goodput: dict[str, Goodput] = field(default_factory=dict)
    _trace: list[StepTrace] = field(default_factory=list)
    _draft_seconds: float = 0.0
    _control_seconds: float = 0.0
    _target_seconds: float = 0.0
    _first_token_at: float | None = None
    _last_token_at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt_tokens)
        self.speculation = self.request.speculation

    @property
    def project_id(self) -> str:
        return self.request.project_id

    @property
    def memory_scope(self) -> str:
        return memory_scope(self.request.project_id, self.request.end_user_id)

    @property
    def deployment_id(self) -> str:
        return self.request.deployment_id

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.prompt_tokens)

    @property
    def sampling(self) -> SamplingParams:
        return self.request.sampling

    @property
    def num_logprobs(self) -> int | None:
        return self.request.num_logprobs

    @property
    def num_remaining(self) -> int:
        return self.num_prompt_tokens + self.request.max_tokens - len(self.tokens)

    @property
    def is_prefilled(self) -> bool:
        return self.num_prefilled == self.num_prompt_tokens - 1

    def forget(self) -> None:
        """The consent is gone: the tenant memory must not learn from this request."""
        self.speculation = replace(self.speculation, remember=False)

    def append(
        self, outcome: StepOutcome, timing: StepTiming, batch: int, end_token_ids: frozenset[int]
    ) -> tuple[GenerationChunk, FinishReason | None]:
        """Take over what a step over `batch` sequences emitted, up to the first end token; the chunk to deliver."""
        kept = outcome.new_tokens[: self.num_remaining]
        finish: FinishReason | None = None
        for index, token in enumerate(kept):
            if token in end_token_ids:
                kept, finish = kept[: index + 1], "stop"
                break
        self.tokens.extend(kept)
        if finish is None and self.num_remaining <= 0:
            finish = "length"
        self._count(outcome, timing, batch)
        logprobs: tuple[TokenLogprob, ...] = ()
        if outcome.logprobs:
            tops = outcome.top_logprobs or ((),) * len(kept)
            logprobs = tuple(map(TokenLogprob, kept, outcome.logprobs, tops))
        return GenerationChunk(kept, logprobs, num_cached_tokens=self.num_cached_tokens), finish

    def explain(self, outcome: StepOutcome, timing: StepTiming, batch: int, why: Explanation) -> None:
        """Keep account of a step over `batch` sequences: what was expected and what came."""
        source = outcome.proposal.sources[0] if outcome.proposal else "none"
        tokens = len(outcome.new_tokens)
        seconds = timing.plan + timing.draft + timing.score + timing.verify + timing.observe
        step = Goodput(1, why.tokens, why.seconds / batch, tokens, seconds / batch)
        self._goodput[source] = self._goodput.get(source, Goodput()) + step
        if self.request.trace and len(self._trace) < MAX_TRACED_STEPS:
            lookahead = len(outcome.proposal)
            self._trace.append(StepTrace(source, lookahead, why.reason, why.tokens, why.seconds, tokens, seconds))

    def stats(self, *, speculator_version_id: str | None = None, relearning: bool = False) -> SpeculationStats:
        """What speculation did for this request so far. Shared seconds are divided by the batch that shared them."""
        positions = range(max(self._drafted_at, default=-1) + 1)
        return SpeculationStats(
            mode=self.speculation.mode,
            steps=self._steps,
            drafted=self._drafted_at.total(),
            accepted=self._accepted_at.total(),
            per_position_drafted=tuple(self._drafted_at[position] for position in positions),
            per_position_accepted=tuple(self._accepted_at[position] for position in positions),
            drafted_by_source=dict(self._drafted_by),
            accepted_by_source=dict(self._accepted_by),
            speculator_version_id=speculator_version_id,
            draft_seconds=self._draft_seconds,
            control_seconds=self._control_seconds,
            target_seconds=self._target_seconds,
            decode_seconds=0.0 if self._first_token_at is None else self._last_token_at - self._first_token_at,
            relearning=relearning,
            goodput=dict(self._goodput),
            trace=tuple(self._trace),
        )

    def _count(self, outcome: StepOutcome, timing: StepTiming, batch: int) -> None:
        self._steps += 1
        for position, source in enumerate(outcome.proposal.sources):
            self._drafted_at[position] += 1
            self._drafted_by[source] += 1
            if position < outcome.num_accepted:
                self._accepted_at[position] += 1
                self._accepted_by[source] += 1
        self._draft_seconds += timing.draft / batch
        self._control_seconds += (timing.plan + timing.observe) / batch
        self._target_seconds += (timing.score + timing.verify) / batch
        self._last_token_at = self.clock()
        if self._first_token_at is None:
            self._first_token_at = self._last_token_at
