"""What our controller is compared with: one lookahead for ever, and a moving average of what was accepted."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.speculation.controller import Controller
from dataplane.speculation.types import Candidates, Plan, Proposal, SequenceView, Source, StepOutcome, StepTiming


class FixedController(Controller):
    """Always the same source and lookahead, within the policy's limits: the setting that a person would tune."""

    def __init__(self, source: Source, lookahead: int) -> None:
        super().__init__()
        self._source: Source = source
        self.lookahead = lookahead

    def plan(self, sequences: Sequence[SequenceView], candidates: Sequence[Candidates]) -> list[Plan]:
        plans = []
        for one in sequences:
            room = min(one.speculation.max_lookahead, one.num_remaining - 1, self.lookahead)
            plans.append(Plan(self._source, room) if one.speculation.mode != "off" and room > 0 else Plan())
        return plans

    def cut(self, sequences: Sequence[SequenceView], plans: Sequence[Plan], proposals: Sequence[Proposal]) -> list[int]:
        return [len(proposal) for proposal in proposals]

    def observe(
        self,
        sequences: Sequence[SequenceView],
        candidates: Sequence[Candidates],
        outcomes: Sequence[StepOutcome],
        timing: StepTiming,
    ) -> None:
        """It learns nothing."""


class MovingAverageController(FixedController):
    """SGLang's adaptive speculation as published: a moving average over the batch picks one of three lookaheads.

    No cost model, no tenants, no calibration; the constants are the defaults of its `adaptive_spec_params`.
    """

    STEPS = (1, 3, 7)
    RATE = 0.2
    WARM_UP = 10  # steps
    INTERVAL = 5  # steps between changes
    DOWN = -0.25  # how much lower the average must be to go down again

    def __init__(self) -> None:
        super().__init__("static", self.STEPS[1])
        self._average = float(self.lookahead)
        self._steps = 0

    def observe(
        self,
        sequences: Sequence[SequenceView],
        candidates: Sequence[Candidates],
        outcomes: Sequence[StepOutcome],
        timing: StepTiming,
    ) -> None:
        accepted = sum(outcome.num_accepted for outcome in outcomes) / len(outcomes)
        self._average += self.RATE * (accepted - self._average)
        self._steps += 1
        if self._steps < self.WARM_UP or self._steps % self.INTERVAL:
            return
        place = self.STEPS.index(self.lookahead)
        if place + 1 < len(self.STEPS) and self._average > self.lookahead - 0.5:
            self.lookahead = self.STEPS[place + 1]
        elif place and self._average <= self.STEPS[place - 1] - 0.5 + self.DOWN:
            self.lookahead = self.STEPS[place - 1]
