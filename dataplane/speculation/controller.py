"""Whom to trust and how far to look ahead: decided at every step, for every sequence, from what was measured.

Goodput is expected tokens per second. `price` is the goodput that the node reaches anyway at this batch size: a
second of its time is worth that many tokens. A draft token is worth its slot iff its survival (the probability that
it and all before it are accepted) exceeds price times the seconds that it adds; a stair-shaped latency curve is
checked at every step of the stair. An alternative to the first token competes with the tail of the chain, by the
probability that the target prefers it. Lookahead 0 is an answer like any other.

The controller looks at contexts, confidences and evidence only, never at the randomness of verification, and decides
before the target's forward: its choices cannot bias the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dataplane.speculation.calibration import CellRate, logit, sampling_class
from dataplane.speculation.drafters.memory import Evidence
from dataplane.speculation.lanes import LONGEST, MAX_PATIENCE, WARM_UP, Lane, Lanes
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.types import (
    EMPTY_PROPOSAL,
    Candidates,
    Plan,
    Proposal,
    SequenceView,
    Source,
    StepOutcome,
    StepTiming,
)

_PRICE_RATE = 0.05
_PROBE = 3  # tokens of a draft that only keeps an estimate fresh
_NO_PLAN = Plan()

# Why a sequence is served as it is: "floor" nothing beats static or plain; "better" the tenant's own tier does, by a
# lower confidence bound; "probe" an estimate is kept fresh; "hold-out" the request measures the floor; "relearning"
# after a drift; "overdrawn" deviating has cost more than it brought; "no drafter" nothing can draft.
Reason = Literal["floor", "better", "probe", "hold-out", "relearning", "overdrawn", "no drafter"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the controller expected of one sequence in the last step, and why it decided so."""

    reason: Reason
    tokens: float  # expected to be emitted, the recovered or bonus token included
    seconds: float  # expected of the whole step, on the machine as it was while the last steps were measured


class Slot(NamedTuple):
    """A row that may be scored."""

    survival: float  # the probability that its token is accepted
    place: int  # of its sequence in the batch
    is_alternative: bool = False


class DraftCost(NamedTuple):
    """Of one sequence's draft, in tokens."""

    start: float
    step: float


class Controller:
    """One per engine; its thread alone uses it. `table` is swept by the engine before it serves.

    A step calls `plan`, `cut` and `observe` once each, in this order, with the same sequences.
    """

    def __init__(self, table: LatencyTable | None = None, *, caution: float = 1.0) -> None:
        """`caution`: standard errors by which the tenant's own tier must be better than the static floor."""
        self.table = LatencyTable() if table is None else table
        self._caution = caution
        self._lanes = Lanes()
        self._tokens: dict[int, float] = {}  # batch size -> running mean of the expected tokens of a step
        self._seconds: dict[int, float] = {}  # and of its expected seconds
        self._recalled: dict[int, list[CellRate]] = {}  # by slot: rates of the memory's proposal in this step
        self._offered: dict[int, Proposal] = {}  # by slot: neural proposals, before the cut
        self._drafted = (0, 0)  # sequences with a neural draft in this step, its longest
        self._held_out: set[int] = set()  # slots whose requests the floor policy serves
        self._expected: list[float] = []  # tokens that each sequence of this step should emit
        self._reasons: list[Reason] = []  # of this step, by sequence
        self._expected_seconds = 0.0  # of this step, on the machine as it is when quiet

    def relearning(self, project_id: str, deployment_id: str) -> bool:
        """Has this deployment's traffic drifted from what was learned, and has nothing caught up yet?"""
        lane = self._lanes.find(project_id, deployment_id)
        return lane is not None and lane.relearning

    def explain(self, index: int) -> Explanation:
        """About the sequence at `index` of the step that was decided last."""
        tokens = self._expected[index] if index < len(self._expected) else 1.0
        reason: Reason = self._reasons[index] if index < len(self._reasons) else "no drafter"
        return Explanation(reason, tokens, self._expected_seconds * self.table.scale)

    def plan(self, sequences: Sequence[SequenceView], candidates: Sequence[Candidates]) -> list[Plan]:
        """Who drafts for each sequence, and how far. Never beyond its policy nor beyond what it may still emit."""
        self._recalled.clear()
        self._reasons = ["floor"] * len(sequences)
        for sequence in sequences:
            if len(sequence.tokens) <= sequence.num_prompt_tokens:  # its first step
                held_out = sequence.speculation.mode == "adaptive" and self._lanes.of(sequence).ledger.admit()
                (self._held_out.add if held_out else self._held_out.discard)(sequence.slot)
        if not any(candidate.neural or candidate.memory for candidate in candidates):
            return [_NO_PLAN] * len(sequences)
        batch = len(sequences)
        price = self._price(batch)
        curve = self.table.score_curve(batch, batch, LONGEST * batch)
        slot_cost = [price * (curve[lookahead * batch] - curve[0]) / batch for lookahead in range(LONGEST + 1)]
        neural = sum(1 for candidate in candidates if candidate.neural)
        share = price / max(1, neural)
        draft_cost = DraftCost(
            share * self.table.draft_start_seconds(max(1, neural)), share * self.table.draft_seconds(max(1, neural))
        )
        plans = []
        for index, (sequence, candidate) in enumerate(zip(sequences, candidates, strict=True)):
            plan, self._reasons[index] = self._plan(sequence, candidate, slot_cost, draft_cost)
            plans.append(plan)
        return plans

    def cut(
        self, sequences: Sequence[SequenceView], plans: Sequence[Plan], proposals: Sequence[Proposal]
    ) -> list[Proposal]:
        """The parts of the proposals that are worth their slots, over the whole batch."""
        slots: list[Slot] = []
        whole = [0] * len(sequences)
        num_neural = longest = 0
        self._offered.clear()
        for index, (sequence, plan, proposal) in enumerate(zip(sequences, plans, proposals, strict=True)):
            if not proposal or plan.source == "none":
                continue
            lane = self._lanes.of(sequence)
            survival = self._survival(lane, sequence, plan, proposal)
            if plan.source != "memory":
                num_drafted = sum(1 for source in proposal.sources if source != "memory")
                num_neural, longest = num_neural + 1, max(longest, num_drafted)
                sampled = sampling_class(sequence.sampling.temperature)
                self._lanes.learn_draft(lane, plan.source, sampled, survival[:num_drafted], plan.lookahead)
                self._offered[sequence.slot] = proposal
            if proposal.draft_probs is not None:
                whole[index] = len(proposal)  # its tokens were drawn: to drop one after looking at it is biased
            else:
                room = _room(sequence) if plan.extend_with_memory else min(plan.lookahead, _room(sequence))
                slots += [Slot(value, index) for value in survival[:room]]
                if proposal.alternatives and room > 0:
                    chances = self._lanes.alternatives(lane, sampling_class(sequence.sampling.temperature), proposal)
                    # None without the chain's first token: that one comes first of equals.
                    slots += [Slot(min(chance, survival[0]), index, is_alternative=True) for chance in chances]
        self._drafted = (num_neural, longest)
        fixed = self.table.overhead_seconds
        if num_neural:
            fixed += self.table.draft_start_seconds(num_neural) + longest * self.table.draft_seconds(num_neural)
        return self._buy(proposals, whole, slots, fixed)

    def observe(
        self,
        sequences: Sequence[SequenceView],
        candidates: Sequence[Candidates],
        outcomes: Sequence[StepOutcome],
        timing: StepTiming,
    ) -> None:
        """Learn from what the target said, and from what the step cost."""
        rows = 0
        share = self._expected_seconds / max(1, len(sequences))
        for sequence, candidate, outcome in zip(sequences, candidates, outcomes, strict=True):
            rows += outcome.proposal.num_rows
            if candidate.neural or candidate.memory:
                rates, lane = self._recalled.get(sequence.slot, ()), self._lanes.of(sequence)
                sampled = sampling_class(sequence.sampling.temperature)
                offered = self._offered.get(sequence.slot, EMPTY_PROPOSAL)
                if offered.alternatives:
                    self._lanes.learn_alternatives(lane, sampled, offered, outcome.new_tokens[0])
                self._lanes.learn_outcome(lane, sampled, outcome, offered, candidate.memory, rates)
                if sequence.speculation.mode == "adaptive":
                    held_out = sequence.slot in self._held_out
                    lane.ledger.settle(len(outcome.new_tokens), share, held_out=held_out)
        self._lanes.end_step()
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

    def _plan(
        self, sequence: SequenceView, candidate: Candidates, slot_cost: Sequence[float], draft_cost: DraftCost
    ) -> tuple[Plan, Reason]:
        room = _room(sequence)
        if room <= 0 or not (candidate.neural or candidate.memory):
            return _NO_PLAN, "no drafter"
        lane = self._lanes.of(sequence)
        lane.judge(candidate.version)
        sampled = sampling_class(sequence.sampling.temperature)
        held_out = sequence.slot in self._held_out
        doubtful = lane.relearning or lane.ledger.is_overdrawn
        caution = self._caution * (3 if doubtful else 1)
        adaptive = sequence.speculation.mode == "adaptive" and not held_out
        best, best_value = _NO_PLAN, 0.0
        neural = tuple(source for source in candidate.neural if source == "static") if held_out else candidate.neural
        for source in neural:
            arm = self._lanes.arm(lane, source, sampled)
            arm.idle += 1
            beside = sum(max(0.0, chance - slot_cost[1]) for chance in arm.beside)
            lookahead, value = _best_length(arm.survival[:room], slot_cost, draft_cost.step, beside - draft_cost.start)
            if source == "adaptive":
                value -= arm.margin(caution)
            if value > best_value:
                best, best_value = Plan(source, lookahead, extend_with_memory=adaptive), value
        if candidate.memory:
            temperature = sequence.sampling.temperature
            rates = [lane.memory.rate(_evidence(why), temperature) for why in candidate.memory.evidence]
            self._recalled[sequence.slot] = rates
            limit = min(room, len(rates)) if not lane.relearning else min(max(1, room // 2), len(rates))
            _, value = _best_length(_cautious(rates[:limit], caution), slot_cost, 0.0)
            if value > best_value and not held_out:
                best, best_value = Plan("memory", limit), value
        if not held_out and (probe := _probe(lane, neural, sampled, best_value)):
            return Plan(probe, min(room, _PROBE), extend_with_memory=adaptive), "probe"
        if held_out:
            return best, "hold-out"
        if lane.relearning:
            return best, "relearning"
        if best.source in ("none", "static"):
            return best, "overdrawn" if lane.ledger.is_overdrawn else "floor"
        return best, "better"

    def _survival(self, lane: Lane, sequence: SequenceView, plan: Plan, proposal: Proposal) -> list[float]:
        """The probability that each token and all before it are accepted."""
        recalled = self._recalled.get(sequence.slot) if plan.source == "memory" else None
        survival, values = 1.0, []
        sampled = sampling_class(sequence.sampling.temperature)
        for index, source in enumerate(proposal.sources):
            if source != "memory":
                feature = logit(proposal.confidences[index])
                survival *= self._lanes.arm(lane, source, sampled).calibration.probability(feature)
            elif recalled is not None:
                survival *= recalled[index].mean
            else:
                survival *= lane.memory.rate(_evidence(proposal.evidence[index]), sequence.sampling.temperature).mean
            values.append(survival)
        return values

    def _buy(self, proposals: Sequence[Proposal], whole: list[int], slots: list[Slot], fixed: float) -> list[Proposal]:
        """Take the likeliest slots while they are worth their price. Survival falls along a chain: prefixes stay."""
        slots.sort(key=lambda slot: -slot.survival)
        batch, lengths, beside = len(whole), list(whole), [0] * len(whole)
        price = self._price(batch)
        curve = self.table.score_curve(batch, batch + sum(whole), len(slots))
        best, best_value, value = 0, 0.0, 0.0
        for count, slot in enumerate(slots, start=1):
            value += slot.survival
            surplus = value - price * (curve[count] - curve[0])
            if surplus > best_value:
                best, best_value = count, surplus
        tokens = float(batch + sum(whole))
        self._expected = [1.0 + length for length in whole]
        for survival, place, is_alternative in slots[:best]:
            (beside if is_alternative else lengths)[place] += 1
            self._expected[place] += survival
            tokens += survival
        self._expected_seconds = fixed + curve[best]
        self._tokens[batch] += _PRICE_RATE * (tokens - self._tokens[batch])
        self._seconds[batch] += _PRICE_RATE * (fixed + curve[best] - self._seconds[batch])
        return [proposal.cut(*kept) for proposal, *kept in zip(proposals, lengths, beside, strict=True)]

    def _price(self, batch: int) -> float:
        """Tokens per second that a batch of this size reaches."""
        if batch not in self._tokens:
            self._tokens[batch] = float(batch)
            self._seconds[batch] = self.table.score_seconds(batch, batch) + self.table.overhead_seconds
        return self._tokens[batch] / self._seconds[batch]


def _room(sequence: SequenceView) -> int:
    """Draft tokens that the policy allows and the request can still use."""
    policy = sequence.speculation
    if policy.mode == "off":
        return 0
    return min(policy.max_lookahead, sequence.num_remaining - 1, LONGEST)


def _evidence(why: object) -> Evidence:
    assert isinstance(why, Evidence), "memory tokens carry their evidence"
    return why


def _cautious(rates: Sequence[CellRate], caution: float) -> list[float]:
    """Survival along the chain by the lower confidence bounds of its rates."""
    survival, values = 1.0, []
    for _, mean, trials in rates:
        survival *= max(0.0, mean - caution * math.sqrt(mean * (1 - mean) / (trials + 4)))
        values.append(survival)
    return values


def _best_length(
    survival: Sequence[float], slot_cost: Sequence[float], draft_cost: float, beside: float = 0.0
) -> tuple[int, float]:
    """(length, surplus in tokens) of the best prefix; every length is tried because the cost has stairs.

    `beside`: what any length brings beside its tokens: the surplus of alternatives, less what drafting costs at all.
    """
    best, best_value, value = 0, 0.0, 0.0
    for length, chance in enumerate(survival, start=1):
        value += chance
        surplus = value + beside - slot_cost[length] - length * draft_cost
        if surplus > best_value:
            best, best_value = length, surplus
    return best, best_value


def _probe(lane: Lane, neural: Sequence[Source], sampled: int, best_value: float) -> Source | None:
    """An arm that should draft now only so that its estimate stays fresh; rather when little is lost by it.

    The tenant's own tier is tried more often while it is new; not at high temperatures, where hardly anything pays, and
    not by a lane that owes the floor.
    """
    for source in neural:
        if source != "static" and lane.ledger.is_overdrawn:
            continue
        arm = lane.arms[source, sampled]
        new = source == "adaptive" and sampled < 2 and arm.trials < WARM_UP
        due = 2 if new else arm.patience if best_value < 1 else 4 * arm.patience
        if arm.idle > due:
            arm.idle = 0
            if not new:
                arm.patience = min(MAX_PATIENCE, 2 * arm.patience)
            return source
    return None
