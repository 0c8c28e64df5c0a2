"""What speculation did for one request: counted step by step, in the same way by every engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dataplane.engines.accounts import MAX_TRACED_STEPS, Goodput, StepTrace
from dataplane.engines.base import SpeculationStats
from dataplane.speculation.controller import Explanation
from dataplane.speculation.types import StepOutcome, StepTiming


@dataclass(slots=True)
class Tally:
    clock: Callable[[], float] = time.perf_counter
    traced: bool = False  # keep every step's explanation, up to MAX_TRACED_STEPS
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

    def add(self, outcome: StepOutcome, timing: StepTiming, batch: int) -> None:
        """A step over `batch` sequences, which share its seconds."""
        self._steps += 1
        # A place counts once, however many candidates stood for it.
        num_accepted = outcome.num_accepted if outcome.alternative is None else 1
        for position, source in enumerate(outcome.proposal.sources):
            self._drafted_at[position] += 1
            self._drafted_by[source] += 1
            if position < num_accepted:
                self._accepted_at[position] += 1
                self._accepted_by[source] += 1
        self._draft_seconds += timing.draft / batch
        self._control_seconds += (timing.plan + timing.observe) / batch
        self._target_seconds += (timing.score + timing.verify) / batch
        self._last_token_at = self.clock()
        if self._first_token_at is None:
            self._first_token_at = self._last_token_at

    def explain(self, outcome: StepOutcome, timing: StepTiming, batch: int, why: Explanation) -> None:
        """Keep account of a step over `batch` sequences: what was expected and what came."""
        source = outcome.proposal.sources[0] if outcome.proposal else "none"
        tokens = len(outcome.new_tokens)
        seconds = timing.plan + timing.draft + timing.score + timing.verify + timing.observe
        step = Goodput(1, why.tokens, why.seconds / batch, tokens, seconds / batch)
        self._goodput[source] = self._goodput.get(source, Goodput()) + step
        if self.traced and len(self._trace) < MAX_TRACED_STEPS:
            lookahead = len(outcome.proposal)
            self._trace.append(StepTrace(source, lookahead, why.reason, why.tokens, why.seconds, tokens, seconds))

    def stats(
        self, mode: str, *, speculator_version_id: str | None = None, relearning: bool = False
    ) -> SpeculationStats:
        """What speculation did for this request so far."""
        positions = range(max(self._drafted_at, default=-1) + 1)
        return SpeculationStats(
            mode=mode,
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
