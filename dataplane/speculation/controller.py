"""Whom to trust and how far to look ahead: decided at every step, for every sequence, from what was measured.

Goodput is expected tokens per second. `price` is the goodput that the node reaches anyway at this batch size: a
second of its time is worth that many tokens. A draft token is worth its slot iff its survival (the probability that
it and all before it are accepted) exceeds price times the seconds that it adds; a stair-shaped latency curve is
checked at every step of the stair. Lookahead 0 is an answer like any other.

The controller looks at contexts, confidences and evidence only, never at the randomness of verification, and decides
before the target's forward: its choices cannot bias the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dataplane.speculation.calibration import MemoryCalibration, OnlineLogistic, PageHinkley, Rate, log_loss
from dataplane.speculation.drafters.memory import Evidence
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.types import Candidates, Plan, Proposal, SequenceView, Source, StepOutcome, StepTiming

_LONGEST = 15  # draft tokens of a sequence in one step
_PRICE_RATE = 0.05
_CURVE_RATE = 0.06
_MAX_LANES = 4096
_SLOW = 0.01  # learning rate of a reference calibration
_PATIENCE = 8
_WARM_UP = 24  # drafts of a new arm before it is judged
_NO_PLAN = Plan()


@dataclass(slots=True)
class Arm:
    """What a neural source achieves in one lane, before anything is drafted."""

    calibration: OnlineLogistic
    reference: OnlineLogistic  # a slow copy: what drifts away from it has drifted
    survival: list[float]  # running mean of the calibrated survival at each position
    trials: int = 0
    variance: float = 0.5  # of the expected number of accepted tokens of a draft
    idle: int = 0  # steps since it last drafted
    patience: int = _PATIENCE  # idle steps until it is probed again

    def learn(self, survival: Sequence[float], lookahead: int) -> None:
        """A draft of `len(survival)` tokens where `lookahead` were asked for."""
        rate = max(_CURVE_RATE, 1 / (self.trials + 4))
        spread = sum(survival) - sum(self.survival[: len(survival)])
        self.variance += rate * (spread * spread - self.variance)
        value = 1.0
        for position in range(lookahead):
            value = survival[position] if position < len(survival) else value * 0.5  # it gave up early
            self.survival[position] += rate * (value - self.survival[position])
        if lookahead and lookahead < _LONGEST:  # beyond what was asked: as the last step went on
            before = self.survival[lookahead - 2] if lookahead > 1 else 1.0
            ratio = min(0.95, self.survival[lookahead - 1] / max(before, 1e-6))
            for position in range(lookahead, _LONGEST):
                self.survival[position] = self.survival[position - 1] * ratio
        self.trials += 1

    def margin(self, caution: float) -> float:
        """How many expected tokens to doubt: `caution` standard errors."""
        return caution * math.sqrt(self.variance / (min(self.trials, 1 / _CURVE_RATE) + 1))


@dataclass(slots=True)
class Lane:
    """What was learned about one endpoint of one project."""

    memory: MemoryCalibration
    arms: dict[Source, Arm] = field(default_factory=dict)
    version: str | None = None  # the speculator version that the adaptive arm was learned from
    drift: PageHinkley = field(default_factory=PageHinkley)
    steps: int = 0
    relearning: bool = False
    loss_before: float = 0.0  # mean log-loss when the drift was noticed
    loss_now: float = 0.0
    since: int = 0  # observations since then
    num_drifts: int = 0


class Controller:
    """One per engine; its thread alone uses it. `table` is swept by the engine before it serves."""

    def __init__(self, table: LatencyTable | None = None, *, caution: float = 1.0) -> None:
        self.table = LatencyTable() if table is None else table
        self._caution = caution
        self._lanes: dict[tuple[str, str], Lane] = {}  # least recently created first
        self._memories: dict[str, MemoryCalibration] = {}  # by project
        self._pooled_cells: dict[int, Rate] = {}
        self._pooled_arms: dict[Source, Arm] = {
            source: Arm(
                OnlineLogistic(), OnlineLogistic(rate=_SLOW), [0.5 ** (position + 1) for position in range(_LONGEST)]
            )
            for source in ("static", "adaptive")
        }
        self._tokens: dict[int, float] = {}  # batch size -> running mean of the expected tokens of a step
        self._seconds: dict[int, float] = {}  # and of its expected seconds
        self._drafted = (0, 0)  # sequences with a neural draft in this step, its longest

    def relearning(self, project_id: str, endpoint_id: str) -> bool:
        """Has this endpoint's traffic drifted from what was learned, and has nothing caught up yet?"""
        lane = self._lanes.get((project_id, endpoint_id))
        return lane is not None and lane.relearning

    # ------------------------------------------------------------------------------------------------- decide

    def plan(self, sequences: Sequence[SequenceView], candidates: Sequence[Candidates]) -> list[Plan]:
        """Who drafts for each sequence, and how far. Never beyond its policy nor beyond what it may still emit."""
        batch = len(sequences)
        price = self._price(batch)
        curve = self.table.score_curve(batch, batch, _LONGEST * batch)
        slot_cost = [price * (curve[lookahead * batch] - curve[0]) / batch for lookahead in range(_LONGEST + 1)]
        neural = sum(1 for candidate in candidates if candidate.neural)
        draft_cost = price * self.table.draft_seconds(max(1, neural)) / max(1, neural)
        return [
            self._plan(sequence, candidate, slot_cost, draft_cost)
            for sequence, candidate in zip(sequences, candidates, strict=True)
        ]

    def cut(self, sequences: Sequence[SequenceView], plans: Sequence[Plan], proposals: Sequence[Proposal]) -> list[int]:
        """How many tokens of each proposal are worth a slot, over the whole batch."""
        batch = len(sequences)
        slots: list[tuple[float, int]] = []  # (survival, sequence)
        whole = [0] * batch
        num_neural = longest = 0
        for index, (sequence, plan, proposal) in enumerate(zip(sequences, plans, proposals, strict=True)):
            lane = self._lane(sequence)
            room = self._room(sequence) if plan.extend_with_memory else min(plan.lookahead, self._room(sequence))
            survival = self._survival(lane, sequence, proposal)
            if plan.source in ("static", "adaptive") and proposal:
                num_drafted = sum(1 for source in proposal.sources if source != "memory")
                num_neural, longest = num_neural + 1, max(longest, num_drafted)
                for arm in (self._arm(lane, plan.source), self._pooled_arms[plan.source]):
                    arm.idle = 0
                    arm.learn(survival[:num_drafted], plan.lookahead)
            if proposal.draft_probs is not None:
                whole[index] = len(proposal)  # its tokens were drawn: to drop one after looking at it is biased
            else:
                slots += [(value, index) for value in survival[:room]]
        self._drafted = (num_neural, longest)
        fixed = self.table.overhead_seconds
        if num_neural:
            fixed += longest * self.table.draft_seconds(num_neural)
        return self._buy(whole, slots, fixed)

    def _buy(self, whole: list[int], slots: list[tuple[float, int]], fixed: float) -> list[int]:
        """Take the likeliest slots while they are worth their price. Survival falls along a chain: prefixes stay."""
        slots.sort(key=lambda slot: -slot[0])
        batch, lengths = len(whole), list(whole)
        price = self._price(batch)
        curve = self.table.score_curve(batch, batch + sum(whole), len(slots))
        best, best_value, value = 0, 0.0, 0.0
        for count, (survival, _) in enumerate(slots, start=1):
            value += survival
            surplus = value - price * (curve[count] - curve[0])
            if surplus > best_value:
                best, best_value = count, surplus
        tokens = float(batch + sum(whole))
        for survival, index in slots[:best]:
            lengths[index] += 1
            tokens += survival
        self._tokens[batch] += _PRICE_RATE * (tokens - self._tokens[batch])
        self._seconds[batch] += _PRICE_RATE * (fixed + curve[best] - self._seconds[batch])
        return lengths

    def _plan(
        self, sequence: SequenceView, candidate: Candidates, slot_cost: Sequence[float], draft_cost: float
    ) -> Plan:
        room = self._room(sequence)
        if room <= 0 or not (candidate.neural or candidate.memory):
            return _NO_PLAN
        lane = self._lane(sequence)
        lane.steps += 1
        if candidate.version != lane.version:
            lane.version = candidate.version
            lane.arms.pop("adaptive", None)
        adaptive = sequence.speculation.mode == "adaptive"
        for source in candidate.neural:
            self._arm(lane, source).idle += 1
        best, best_value = _NO_PLAN, 0.0
        for source in candidate.neural:
            arm = self._arm(lane, source)
            lookahead, value = _best_length(arm.survival[:room], slot_cost, draft_cost)
            if source == "adaptive":
                value -= arm.margin(self._caution * (3 if lane.relearning else 1))
            if value > best_value:
                best, best_value = Plan(source, lookahead, extend_with_memory=adaptive), value
        if len(candidate.memory):
            limit = room if not lane.relearning else max(1, room // 2)
            survival = self._survival(lane, sequence, candidate.memory.cut(limit), cautious=True)
            lookahead, value = _best_length(survival, slot_cost, 0.0)
            if value > best_value:
                best, best_value = Plan("memory", min(limit, len(candidate.memory))), value
        if probe := self._probe(lane, candidate.neural, best_value):
            return Plan(probe, min(room, 3), extend_with_memory=adaptive)
        return best

    def _probe(self, lane: Lane, neural: Sequence[Source], best_value: float) -> Source | None:
        """An arm that should draft now only so that its estimate stays fresh; rather when little is lost by it."""
        for source in neural:
            arm = lane.arms[source]
            new = source == "adaptive" and arm.trials < _WARM_UP
            due = 2 if new else arm.patience if best_value < 1 else 4 * arm.patience
            if arm.idle > due:
                arm.idle = 0
                if not new:
                    arm.patience = min(64, 2 * arm.patience)
                return source
        return None

    def _room(self, sequence: SequenceView) -> int:
        policy = sequence.speculation
        if policy.mode == "off":
            return 0
        return min(policy.max_lookahead, sequence.num_remaining - 1, _LONGEST)

    def _price(self, batch: int) -> float:
        """Tokens per second that a batch of this size reaches."""
        if batch not in self._tokens:
            self._tokens[batch] = float(batch)
            self._seconds[batch] = self.table.score_seconds(batch, batch) + self.table.overhead_seconds
        return self._tokens[batch] / self._seconds[batch]

    def _survival(
        self, lane: Lane, sequence: SequenceView, proposal: Proposal, *, cautious: bool = False
    ) -> list[float]:
        temperature = sequence.sampling.temperature
        survival, values = 1.0, []
        for index, source in enumerate(proposal.sources):
            if source == "memory":
                why = proposal.evidence[index]
                assert isinstance(why, Evidence)
                rate, trials = lane.memory.probability(why, temperature)
                if cautious:
                    rate -= self._caution * math.sqrt(rate * (1 - rate) / (trials + 4))
            else:
                rate = self._arm(lane, source).calibration.probability(proposal.confidences[index])
            survival *= max(rate, 0.0)
            values.append(survival)
        return values

    # -------------------------------------------------------------------------------------------------- learn

    def observe(
        self,
        sequences: Sequence[SequenceView],
        candidates: Sequence[Candidates],
        outcomes: Sequence[StepOutcome],
        timing: StepTiming,
    ) -> None:
        """Learn from what the target said, and from what the step cost."""
        rows = 0
        for sequence, candidate, outcome in zip(sequences, candidates, outcomes, strict=True):
            rows += len(outcome.proposal) + 1
            if sequence.speculation.mode != "off":
                self._learn(sequence, candidate.memory, outcome)
        num_neural, longest = self._drafted
        self.table.observe(
            batch=len(sequences),
            rows=rows,
            drafting=num_neural,
            draft_steps=longest,
            score=timing.score,
            draft=timing.draft if num_neural else 0.0,
            overhead=timing.plan + timing.verify + timing.observe,
        )

    def _learn(self, sequence: SequenceView, memory: Proposal, outcome: StepOutcome) -> None:
        lane = self._lane(sequence)
        losses: list[float] = []
        temperature = sequence.sampling.temperature
        proposal = outcome.proposal
        for index in range(min(len(proposal), outcome.num_accepted + 1)):
            source, accepted = proposal.sources[index], index < outcome.num_accepted
            if source != "memory":
                arm = self._arm(lane, source)
                confidence = proposal.confidences[index]
                if source == "adaptive":
                    losses.append(log_loss(arm.reference.probability(confidence), accepted))
                for one in (arm, self._pooled_arms[source]):
                    one.calibration.learn(confidence, accepted)
                    one.reference.learn(confidence, accepted)
        # The target's own tokens tell what the memory's proposal was worth, whether it was used or not.
        for index, (token, emitted) in enumerate(zip(memory.tokens, outcome.new_tokens, strict=False)):
            why = memory.evidence[index]
            assert isinstance(why, Evidence)
            accepted = token == emitted
            losses.append(log_loss(lane.memory.probability(why, temperature)[0], accepted))
            lane.memory.learn(why, temperature, accepted)
            if not accepted:
                break
        for loss in losses[:2]:
            self._watch(lane, loss)

    def _watch(self, lane: Lane, loss: float) -> None:
        lane.loss_now += 0.05 * (loss - lane.loss_now)
        before = lane.drift.mean
        if lane.drift.learn(loss):
            lane.relearning, lane.since, lane.loss_before = True, 0, before
            lane.num_drifts += 1
            lane.memory.forget()
            for arm in lane.arms.values():
                arm.patience = _PATIENCE  # look often whether it has recovered
        elif lane.relearning:
            lane.since += 1
            recovered = lane.since >= 40 and lane.loss_now <= lane.loss_before + lane.drift.slack
            lane.relearning = not recovered and lane.since < 600

    def _lane(self, sequence: SequenceView) -> Lane:
        key = (sequence.project_id, sequence.endpoint_id)
        lane = self._lanes.get(key)
        if lane is None:
            while len(self._lanes) >= _MAX_LANES:
                del self._lanes[next(iter(self._lanes))]
            memory = self._memories.setdefault(sequence.project_id, MemoryCalibration(self._pooled_cells))
            lane = self._lanes[key] = Lane(memory)
        return lane

    def _arm(self, lane: Lane, source: Source) -> Arm:
        arm = lane.arms.get(source)
        if arm is None:
            pooled = self._pooled_arms[source]
            arm = lane.arms[source] = Arm(pooled.calibration.child(), pooled.reference.child(), list(pooled.survival))
        return arm


def _best_length(survival: Sequence[float], slot_cost: Sequence[float], draft_cost: float) -> tuple[int, float]:
    """(length, surplus in tokens) of the best prefix; every length is tried because the cost has stairs."""
    best, best_value, value = 0, 0.0, 0.0
    for length, chance in enumerate(survival, start=1):
        value += chance
        surplus = value - slot_cost[length] - length * draft_cost
        if surplus > best_value:
            best, best_value = length, surplus
    return best, best_value
