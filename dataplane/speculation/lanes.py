"""What the controller has learned: one lane for each deployment of a project, with an arm for each neural source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dataplane.speculation.calibration import (
    CellRate,
    MemoryCalibration,
    OnlineLogistic,
    PageHinkley,
    Rate,
    log_loss,
    logit,
)
from dataplane.speculation.types import Proposal, SequenceView, Source, StepOutcome

LONGEST = 15  # draft tokens of a sequence in one step
WARM_UP = 24  # drafts of a new arm before it is judged
PATIENCE = 8  # idle steps until an arm is probed; doubled with every probe that changes nothing
MAX_PATIENCE = 64
_CURVE_RATE = 0.06
_SLOW = 0.01  # learning rate of a reference calibration
_MAX_LANES = 4096
_LOSS_RATE = 0.05
_LONG_ENOUGH = 40  # observations before a lane may count as recovered
_HOLDOUT_EVERY = 100  # requests
_HOLDOUT_STEPS = 40  # steps of the hold-out before its speed is believed
_HOLDOUT_MEMORY = 0.998
_CREDIT_MEMORY = 0.995  # a balance is about the last few hundred steps
_MAX_CREDIT = 60.0  # tokens
_OVERDRAFT = 8.0  # tokens that a lane may owe: what exploration costs
_NEW_NORMAL = 600  # observations after which what drifted has become the habit
_POOL_EVERY = 4  # steps: what everybody shares is fed by so many sequences that a part of it will do


@dataclass(slots=True)
class Arm:
    """What a neural source achieves in one lane, before anything is drafted."""

    calibration: OnlineLogistic = field(default_factory=OnlineLogistic)
    # A slow copy: traffic that moves away from it has drifted.
    reference: OnlineLogistic = field(default_factory=lambda: OnlineLogistic(rate=_SLOW))
    # Running mean of the calibrated survival at each position.
    survival: list[float] = field(default_factory=lambda: [0.5 ** (position + 1) for position in range(LONGEST)])
    # Of the alternatives to the first token, by rank: how confidences are to be read, and the running mean chance.
    others: OnlineLogistic = field(default_factory=OnlineLogistic)
    beside: list[float] = field(default_factory=list)
    trials: int = 0
    variance: float = 0.5  # of the expected number of accepted tokens of a draft
    idle: int = 0  # steps since it last drafted
    patience: int = PATIENCE  # idle steps until it is probed again

    def child(self) -> Arm:
        """An arm that starts from this one's knowledge, and has proved nothing yet."""
        return Arm(
            self.calibration.child(),
            self.reference.child(),
            list(self.survival),
            self.others.child(),
            list(self.beside),
        )

    def learn_draft(self, survival: Sequence[float], lookahead: int) -> None:
        """A draft of `len(survival)` tokens where `lookahead` were asked for."""
        rate = max(_CURVE_RATE, 1 / (self.trials + 4))
        spread = sum(survival) - sum(self.survival[: len(survival)])
        self.variance += rate * (spread * spread - self.variance)
        value = 1.0
        for position in range(lookahead):
            value = survival[position] if position < len(survival) else value * 0.5  # it gave up early
            self.survival[position] += rate * (value - self.survival[position])
        if 0 < lookahead < LONGEST:  # beyond what was asked: as the last step went on
            before = self.survival[lookahead - 2] if lookahead > 1 else 1.0
            ratio = min(0.95, self.survival[lookahead - 1] / max(before, 1e-6))
            for position in range(lookahead, LONGEST):
                self.survival[position] = self.survival[position - 1] * ratio
        self.trials += 1
        self.idle = 0

    def learn_token(self, feature: float, accepted: bool) -> float:
        """The target has said whether it agrees with a token of this confidence (its logit).

        Returns what the reference expected.
        """
        self.calibration.learn(feature, accepted)
        return self.reference.learn(feature, accepted)

    def learn_alternatives(self, features: Sequence[float], chosen: int | None) -> None:
        """The target has said which of the alternatives it prefers to the first token and the others; None: none."""
        beside = self.beside
        if len(beside) < len(features):
            beside += [0.0] * (len(features) - len(beside))
        for rank, feature in enumerate(features):
            beside[rank] += _CURVE_RATE * (self.others.learn(feature, rank == chosen) - beside[rank])

    def margin(self, caution: float) -> float:
        """How many expected tokens to doubt: `caution` standard errors."""
        return caution * math.sqrt(self.variance / (min(self.trials, 1 / _CURVE_RATE) + 1))


@dataclass(slots=True)
class FloorLedger:
    """What deviating from the floor has earned, in tokens, against a concurrent hold-out that never deviates.

    One request in _HOLDOUT_EVERY is served by the floor policy (static or plain, whichever is faster). Every step of
    the others earns its tokens and owes what the hold-out emits in the same expected seconds; old balances fade.
    """

    num_requests: int = 0
    credit: float = 0.0
    _tokens: float = 0.0  # of the hold-out, fading
    _seconds: float = 0.0
    _steps: int = 0

    def admit(self) -> bool:
        """A new request. True: it belongs to the hold-out."""
        self.num_requests += 1
        return self.num_requests % _HOLDOUT_EVERY == _HOLDOUT_EVERY // 2

    def settle(self, tokens: int, seconds: float, *, held_out: bool) -> None:
        """A step of one sequence: what it emitted, and its share of the step's expected seconds."""
        if held_out:
            self._tokens = _HOLDOUT_MEMORY * self._tokens + tokens
            self._seconds = _HOLDOUT_MEMORY * self._seconds + seconds
            self._steps += 1
        elif self._steps >= _HOLDOUT_STEPS:
            self.credit += tokens - seconds * self._tokens / self._seconds
            self.credit = min(max(_CREDIT_MEMORY * self.credit, -_MAX_CREDIT), _MAX_CREDIT)

    @property
    def is_overdrawn(self) -> bool:
        """Has deviating cost more than it brought, lately?"""
        return self.credit < -_OVERDRAFT


@dataclass(slots=True)
class Lane:
    """What was learned about one deployment of one project."""

    memory: MemoryCalibration
    # By source and sampling class: at temperature 1 far less is accepted than under greedy decoding.
    arms: dict[tuple[Source, int], Arm] = field(default_factory=dict)
    ledger: FloorLedger = field(default_factory=FloorLedger)
    version: str | None = None  # the speculator version that the adaptive arm was learned from
    drift: PageHinkley = field(default_factory=PageHinkley)
    num_drifts: int = 0
    relearning: bool = False
    _loss: float = 0.0  # running mean of the log-loss
    _loss_before: float = 0.0  # when the drift was noticed
    _since: int = 0  # observations since then

    def judge(self, version: str | None) -> None:
        """`version` drafts now: what was learned about another one is void."""
        if version != self.version:
            self.version = version
            self.arms = {key: arm for key, arm in self.arms.items() if key[0] != "adaptive"}

    def watch(self, loss: float) -> None:
        """Look for drift in the log-loss of what the tenant's own tier predicted, and for its end."""
        self._loss += _LOSS_RATE * (loss - self._loss)
        before = self.drift.mean
        if self.drift.learn(loss):
            self.relearning, self._since, self._loss_before = True, 0, before
            self.num_drifts += 1
            self.memory.forget()
            for arm in self.arms.values():
                arm.patience = PATIENCE  # look often whether it has recovered
        elif self.relearning:
            self._since += 1
            recovered = self._since >= _LONG_ENOUGH and self._loss <= self._loss_before + self.drift.slack
            self.relearning = not recovered and self._since < _NEW_NORMAL


class Lanes:
    """Every lane, and what they share: rates and calibrations of everybody, from which a new lane starts."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str], Lane] = {}  # oldest first
        self._memories: dict[str, MemoryCalibration] = {}  # by project
        self._pooled_cells: dict[int, Rate] = {}
        self._pooled_arms: dict[tuple[Source, int], Arm] = {}
        self._num_steps = 0

    def find(self, project_id: str, deployment_id: str) -> Lane | None:
        return self._lanes.get((project_id, deployment_id))

    def of(self, sequence: SequenceView) -> Lane:
        """The sequence's lane; a new one if there is none. Beyond _MAX_LANES the oldest goes."""
        key = (sequence.project_id, sequence.deployment_id)
        lane = self._lanes.get(key)
        if lane is None:
            while len(self._lanes) >= _MAX_LANES:
                old = next(iter(self._lanes))
                del self._lanes[old]
                self._memories.pop(old[0], None)
            memory = self._memories.setdefault(sequence.project_id, MemoryCalibration(self._pooled_cells))
            lane = self._lanes[key] = Lane(memory)
        return lane

    def arm(self, lane: Lane, source: Source, sampled: int) -> Arm:
        """`sampled`: see `sampling_class`."""
        arm = lane.arms.get((source, sampled))
        if arm is None:
            arm = lane.arms[source, sampled] = self._pooled_arm(source, sampled).child()
        return arm

    def learn_draft(self, lane: Lane, source: Source, sampled: int, survival: Sequence[float], lookahead: int) -> None:
        """`source` drafted; see `Arm.learn_draft`."""
        for arm in self._arms(lane, source, sampled):
            arm.learn_draft(survival, lookahead)

    def learn_outcome(
        self,
        lane: Lane,
        sampled: int,
        outcome: StepOutcome,
        offered: Proposal,
        memory: Proposal,
        rates: Sequence[CellRate],
    ) -> None:
        """The target has spoken. `offered` is the neural proposal before the cut, if there was one; `rates` are the
        calibrated rates of the memory's proposal, used or not.

        Tokens that were cut are judged too: were only those judged that are worth their price, a calibration that has
        become too low would never see that it is.
        """
        losses: list[float] = []
        arms: Sequence[Arm] = ()
        before: Source = "none"
        for source, confidence, accepted in _judged(outcome, offered):
            if source == "memory":
                continue
            if source != before:
                arms, before = self._arms(lane, source, sampled), source
            feature = logit(confidence)
            expected = [arm.learn_token(feature, accepted) for arm in arms]
            if source == "adaptive":
                losses.append(log_loss(expected[0], accepted))
        # The target's own tokens tell what the memory's proposal was worth, whether it was used or not.
        for rate, token, emitted in zip(rates, memory.tokens, outcome.new_tokens, strict=False):
            accepted = token == emitted
            losses.append(log_loss(rate.mean, accepted))
            lane.memory.learn(rate.cell, accepted)
            if not accepted:
                break
        for loss in losses[:2]:
            lane.watch(loss)

    def end_step(self) -> None:
        """All sequences of the step have been learned from."""
        self._num_steps += 1

    def alternatives(self, lane: Lane, sampled: int, proposal: Proposal) -> list[float]:
        """The probability of each alternative that the target emits it. They fall with the rank."""
        others = self.arm(lane, proposal.sources[0], sampled).others
        return [others.probability(logit(confidence)) for confidence in proposal.alternative_confidences]

    def learn_alternatives(self, lane: Lane, sampled: int, proposal: Proposal, emitted: int) -> None:
        """What the target emitted tells of all alternatives, scored or not."""
        chosen = proposal.alternatives.index(emitted) if emitted in proposal.alternatives else None
        features = [logit(confidence) for confidence in proposal.alternative_confidences]
        for arm in self._arms(lane, proposal.sources[0], sampled):
            arm.learn_alternatives(features, chosen)

    def _arms(self, lane: Lane, source: Source, sampled: int) -> Sequence[Arm]:
        """Those that learn from this step: the lane's own, first, and sometimes the pooled one."""
        own = self.arm(lane, source, sampled)
        return (own,) if self._num_steps % _POOL_EVERY else (own, self._pooled_arm(source, sampled))

    def _pooled_arm(self, source: Source, sampled: int) -> Arm:
        arm = self._pooled_arms.get((source, sampled))
        if arm is None:
            arm = self._pooled_arms[source, sampled] = Arm()
        return arm


def _judged(outcome: StepOutcome, offered: Proposal) -> list[tuple[Source, float, bool]]:
    """Source, confidence and truth of each token up to the first wrong one, as far as the target has said."""
    if offered.draft_probs is not None:  # drawn at random: accepted or not, whatever the target emitted instead
        offered, right = outcome.proposal, [True] * outcome.num_accepted + [False]
    else:
        right = [token == emitted for token, emitted in zip(offered.tokens, outcome.new_tokens, strict=False)]
    until = right.index(False) + 1 if False in right else len(right)
    return list(zip(offered.sources[:until], offered.confidences, right, strict=False))
