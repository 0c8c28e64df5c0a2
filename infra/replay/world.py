"""A target that only repeats what was recorded, and a clock that only the priced parts of a step move.

Everything else is real: `speculative_step`, the drafters, the controller. Prices are those of a table, disturbed by
noise if wanted, so that a run compares policies and never machines.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import (
    NOTHING_CHOSEN,
    Plan,
    Proposal,
    SamplingParams,
    Scores,
    SequenceView,
    Source,
    SpeculationPolicy,
)
from infra.replay.recording import Answer


@dataclass(slots=True)
class Prices:
    """Seconds of a simulated step. The defaults are those of SmolLM2-135M on two cores with AMX."""

    forward: Callable[[int, int], float] = lambda batch, rows: 0.011 + 0.0001 * rows  # (batch, rows in all)
    draft_step: float = 0.0008
    noise: float = 0.1  # relative spread; one step in fifty takes five times as long


@dataclass(slots=True)
class Clock:
    """Seconds that were charged."""

    prices: Prices
    now: float = 0.0
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def __call__(self) -> float:
        return self.now

    def charge(self, seconds: float) -> None:
        noise = self.prices.noise
        factor = 1 + noise * self.draw.uniform(-1, 1) if noise else 1.0
        if noise and self.draw.random() < 0.02:
            factor *= 5
        self.now += seconds * factor


@dataclass(slots=True)
class ReplaySequence:
    """A recorded request while it is replayed (`types.SequenceView`)."""

    answer: Answer
    slot: int
    project_id: str
    speculation: SpeculationPolicy
    tokens: list[int]
    deployment_id: str = "replay"
    sampling: SamplingParams = field(default_factory=SamplingParams)
    num_logprobs: int | None = None

    @property
    def memory_scope(self) -> str:
        return self.project_id

    @property
    def num_prompt_tokens(self) -> int:
        return self.answer.num_prompt_tokens

    @property
    def num_remaining(self) -> int:
        return len(self.answer.tokens) - len(self.tokens)


class ReplayTarget:
    """Implements `types.TargetModel`: it says what it said when it was recorded."""

    max_alternatives = 0  # what follows a token that was not said is not in the record

    def __init__(self, clock: Clock, vocab_size: int) -> None:
        self._clock, self._vocab_size = clock, vocab_size

    def score(self, sequences: Sequence[SequenceView], proposals: Sequence[Proposal]) -> Scores:
        said, features, offsets = [], [], [0]
        for sequence, proposal in zip(sequences, proposals, strict=True):
            assert isinstance(sequence, ReplaySequence)
            answer, start = sequence.answer, len(sequence.tokens)
            for place in range(start, start + len(proposal) + 1):  # beyond the first difference nobody looks
                said.append(answer.tokens[min(place, len(answer.tokens) - 1)])
            rows = answer.features[start - 1 : start + len(proposal)]
            missing = len(proposal) + 1 - len(rows)
            features.append(torch.cat([rows, rows[-1:].expand(missing, -1)]) if missing else rows)
            offsets.append(len(said))
        logits = torch.zeros(len(said), self._vocab_size)
        logits[torch.arange(len(said)), torch.tensor(said)] = 1.0
        self._clock.charge(self._clock.prices.forward(len(sequences), len(said)))
        return Scores(logits, torch.cat(features), tuple(offsets))

    def commit(
        self, sequences: Sequence[SequenceView], num_accepted: Sequence[int], chosen: Mapping[int, int] = NOTHING_CHOSEN
    ) -> None:
        """There is no cache."""


class PricedDrafter:
    """A neural drafter whose draft steps cost what the prices say."""

    def __init__(self, drafter: object, clock: Clock) -> None:
        self._drafter, self._clock = drafter, clock

    def __getattr__(self, name: str) -> object:
        return getattr(self._drafter, name)

    def propose(self, sequences, lookaheads, deltas, *, num_alternatives=0):  # type: ignore[no-untyped-def]
        proposals = self._drafter.propose(sequences, lookaheads, deltas)  # type: ignore[attr-defined]
        self._clock.charge(self._clock.prices.draft_step * max(map(len, proposals), default=0))
        return proposals


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a stream of requests came to."""

    tokens: int
    steps: int  # of sequences
    seconds: float  # simulated
    sources: dict[str, int]  # steps by who drafted
    timeline: tuple[tuple[int, float], ...]  # (tokens, seconds) after each step of the batch

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def acceptance_length(self) -> float:
        return self.tokens / self.steps


def replay(
    answers: Sequence[Answer],
    drafters: DrafterSet,
    controller: Controller,
    clock: Clock,
    *,
    project_id: str,
    vocab_size: int,
    policy: SpeculationPolicy,
    batch: int = 1,
) -> Replayed:
    """Serve the answers in their order, `batch` of them at a time. Features of prompts are read for nothing."""
    target = ReplayTarget(clock, vocab_size)
    waiting, free = list(answers)[::-1], list(range(batch))
    running: list[ReplaySequence] = []
    tokens = steps = 0
    sources: dict[str, int] = {}
    timeline, began = [], clock.now
    while waiting or running:
        while waiting and free:
            answer = waiting.pop()
            prompt = answer.num_prompt_tokens
            sequence = ReplaySequence(answer, free.pop(), project_id, policy, list(answer.tokens[:prompt]))
            drafters.extend(sequence, 0, answer.tokens[1:prompt], answer.features[: prompt - 1])
            running.append(sequence)
        drafters.swap_if_ready()
        outcomes, _ = speculative_step(running, target, drafters, controller, clock=clock)
        for sequence, outcome in zip(running, outcomes, strict=True):
            sequence.tokens += outcome.new_tokens[: sequence.num_remaining]
            tokens += len(outcome.new_tokens)
            steps += 1
            source = outcome.plan.source if len(outcome.proposal) else "none"
            sources[source] = sources.get(source, 0) + 1
        timeline.append((tokens, clock.now - began))
        for sequence in [one for one in running if one.num_remaining <= 0]:
            drafters.release(sequence)
            free.append(sequence.slot)
            running.remove(sequence)
    return Replayed(tokens, steps, clock.now - began, sources, tuple(timeline))


class Fixed(Controller):
    """Always the same source and length, whatever was learned."""

    def __init__(self, source: Source, lookahead: int) -> None:
        super().__init__()
        self._source, self._lookahead = source, lookahead

    def plan(self, sequences, candidates):  # type: ignore[no-untyped-def]
        return [
            Plan(self._source, max(0, min(self._lookahead, one.num_remaining - 1)))
            if self._source != "none"
            else Plan()
            for one in sequences
        ]

    def cut(self, sequences, plans, proposals):  # type: ignore[no-untyped-def]
        return [len(proposal) for proposal in proposals]

    def observe(self, sequences, candidates, outcomes, timing):  # type: ignore[no-untyped-def]
        return
