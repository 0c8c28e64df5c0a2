"""What our controller is compared with (one lookahead for ever, a moving average), and a look at its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataplane.speculation.controller import Controller
from dataplane.speculation.lanes import Lane
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.types import Candidates, Plan, Proposal, SequenceView, Source, StepOutcome, StepTiming


class FixedController(Controller):
    """Always the same source and lookahead, within the policy's limits: the setting that a person would tune.

    Alternatives to the first token are all scored.
    """

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

    def cut(
        self, sequences: Sequence[SequenceView], plans: Sequence[Plan], proposals: Sequence[Proposal]
    ) -> list[Proposal]:
        return list(proposals)

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

    Chains, no cost model, no tenants, no calibration; the constants are the defaults of its `adaptive_spec_params`.
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

    def cut(
        self, sequences: Sequence[SequenceView], plans: Sequence[Plan], proposals: Sequence[Proposal]
    ) -> list[Proposal]:
        return [proposal.cut(len(proposal)) for proposal in proposals]

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


class WatchedController(Controller):
    """Our controller, with an eye on how well it is calibrated: predicted survival against what was accepted."""

    def __init__(self, table: LatencyTable | None = None) -> None:
        super().__init__(table)
        self.calibration = CalibrationTally()
        self._predicted: dict[int, list[float]] = {}  # by slot, in this step

    def _survival(self, lane: Lane, sequence: SequenceView, plan: Plan, proposal: Proposal) -> list[float]:
        values = super()._survival(lane, sequence, plan, proposal)
        self._predicted[sequence.slot] = values
        return values

    def observe(
        self,
        sequences: Sequence[SequenceView],
        candidates: Sequence[Candidates],
        outcomes: Sequence[StepOutcome],
        timing: StepTiming,
    ) -> None:
        super().observe(sequences, candidates, outcomes, timing)
        for sequence, outcome in zip(sequences, outcomes, strict=True):
            predicted = self._predicted.pop(sequence.slot, [])
            for place, value in enumerate(predicted[: len(outcome.proposal)]):
                self.calibration.add(value, place < outcome.num_accepted)


@dataclass(slots=True)
class CalibrationTally:
    """Tokens by their predicted survival: ten bins of (tokens, sum of predictions, accepted)."""

    tokens: list[int] = field(default_factory=lambda: [0] * 10)
    predicted: list[float] = field(default_factory=lambda: [0.0] * 10)
    accepted: list[int] = field(default_factory=lambda: [0] * 10)

    def add(self, survival: float, was_accepted: bool) -> None:
        place = min(9, int(10 * survival))
        self.tokens[place] += 1
        self.predicted[place] += survival
        self.accepted[place] += was_accepted

    @property
    def error(self) -> float | None:
        """Expected calibration error: the mean distance between predicted and accepted share, weighted by tokens."""
        total = sum(self.tokens)
        if not total:
            return None
        return sum(abs(one - two) for one, two in zip(self.predicted, self.accepted, strict=True)) / total
