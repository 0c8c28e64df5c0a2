"""One request inside the engine: its tokens, its place in the cache, and what it has cost so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dataplane.engines.base import FinishReason, GenerationChunk, GenerationRequest, TokenLogprob
from dataplane.engines.tally import Tally
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
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt_tokens)
        self.speculation = self.request.speculation
        self.tally = Tally(self.clock, self.request.trace)

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
        self.tally.add(outcome, timing, batch)
        logprobs: tuple[TokenLogprob, ...] = ()
        if outcome.logprobs:
            tops = outcome.top_logprobs or ((),) * len(kept)
            logprobs = tuple(map(TokenLogprob, kept, outcome.logprobs, tops))
        return GenerationChunk(kept, logprobs, num_cached_tokens=self.num_cached_tokens), finish
