"""Simulated worlds for the controller: who is right how often, and what a step costs. Time is simulated, too."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.memory import Evidence
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.types import EMPTY_PROPOSAL, Candidates, Plan, Proposal, Source, StepOutcome, StepTiming
from tests.fakes import FakeSequence

Acceptance = Callable[[int], float]  # step -> mean probability that a draft token is accepted


@dataclass(slots=True)
class World:
    """Batch of endless sequences. A token of `source` is accepted with a probability drawn around `skills[source]`."""

    skills: dict[Source, Acceptance]
    score: Callable[[int, int], float]  # (batch, rows in all) -> seconds
    draft_step: float = 0.001  # seconds
    batch: int = 1
    max_lookahead: int = 8
    memory_share: float = 1.0  # of the steps the memory has a proposal at all
    blind: bool = False  # confidences stay what they were at the start, whatever happens
    spread: float = 0.25  # how much a token's chance differs from the mean; confidences tell it, distorted
    seed: int = 0
    version: str = "ver_1"
    now: float = 0.0
    tokens: int = 0
    steps: int = 0
    used: dict[Source, int] = field(default_factory=dict)
    _draw: random.Random = field(default_factory=random.Random)

    def run(self, controller: Controller, steps: int) -> float:
        """Tokens per second over `steps` steps."""
        if not self.steps:
            self._draw.seed(self.seed)
        sequences = [FakeSequence([1, 2, 3], slot, max_tokens=10**9, num_prompt_tokens=1) for slot in range(self.batch)]
        started, before = self.now, self.tokens
        for _ in range(steps):
            self._step(controller, sequences)
        return (self.tokens - before) / (self.now - started)

    def _step(self, controller: Controller, sequences: Sequence[FakeSequence]) -> None:
        neural: tuple[Source, ...] = tuple(source for source in self.skills if source != "memory")
        candidates = [Candidates(self._recall(), neural, self.version) for _ in sequences]
        plans = controller.plan(sequences, candidates)
        proposals = [self._propose(plan, one) for plan, one in zip(plans, candidates, strict=True)]
        kept = controller.cut(sequences, plans, proposals)
        rows = sum(proposal.num_rows for proposal in kept)
        noise = self._draw.choice((0.9, 1.0, 1.0, 1.0, 1.1, 1.3))
        drafted = max((len(one) for one in proposals if one.sources[:1] not in ((), ("memory",))), default=0)
        timing = StepTiming(draft=noise * self.draft_step * drafted, score=noise * self.score(self.batch, rows))
        outcomes = []
        for plan, proposal in zip(plans, kept, strict=True):
            accepted = 0
            while accepted < len(proposal) and proposal.tokens[accepted]:
                accepted += 1
            outcomes.append(StepOutcome(proposal, accepted, (1,) * (accepted + 1), plan=plan))
            self.tokens += accepted + 1
            self.used[plan.source] = self.used.get(plan.source, 0) + 1
        controller.observe(sequences, candidates, outcomes, timing)
        self.now += timing.draft + timing.score
        self.steps += 1

    def _recall(self) -> Proposal:
        if "memory" not in self.skills or self._draw.random() > self.memory_share:
            return EMPTY_PROPOSAL
        return self._chain("memory", self.max_lookahead)

    def _propose(self, plan: Plan, candidate: Candidates) -> Proposal:
        if plan.source == "memory":
            return candidate.memory.cut(plan.lookahead)
        return EMPTY_PROPOSAL if plan.source == "none" else self._chain(plan.source, plan.lookahead)

    def _chain(self, source: Source, lookahead: int) -> Proposal:
        """The target says nothing but 1; a wrong draft token is 0."""
        tokens, confidences, evidence = [], [], []
        for _ in range(lookahead):
            mean = self.skills[source](self.steps)
            chance = min(max(mean + self._draw.uniform(-self.spread, self.spread), 0.01), 0.99)
            tokens.append(int(self._draw.random() < chance))
            confidences.append((self.skills[source](0) if self.blind else chance) ** 0.5)  # overconfident
            evidence.append(Evidence("project", 6, 1 + int(7 * chance), 8))
        return Proposal(tuple(tokens), tuple(confidences), (source,) * lookahead, None, tuple(evidence))


class FixedLookahead(Controller):
    """Always the same source and length: what the controller has to beat without knowing the world."""

    def __init__(self, source: Source, lookahead: int) -> None:
        super().__init__()
        self._plan_always = Plan(source, lookahead)

    def plan(self, sequences, candidates):  # type: ignore[no-untyped-def]
        return [self._plan_always] * len(sequences)

    def cut(self, sequences, plans, proposals):  # type: ignore[no-untyped-def]
        return list(proposals)

    def observe(self, sequences, candidates, outcomes, timing):  # type: ignore[no-untyped-def]
        return


def swept(world: World) -> LatencyTable:
    """The table that a sweep of this world gives."""
    table = LatencyTable(max_batch=max(8, world.batch))
    table.sweep(
        lambda batch, rows: world.score(batch, batch * rows),
        lambda batch, lookahead: world.draft_step * lookahead,
        batches=(1, 2, 4, 8),
    )
    return table
