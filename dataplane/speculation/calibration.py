"""From what a drafter says of its token to the probability that the target agrees.

Neural confidences go through an online logistic, one per project and source, that starts from the pooled one (Platt,
1999). Memory evidence falls into cells with beta-binomial rates: a project's rate is centred on the rate of everybody
(empirical Bayes). Rates are pooled, tokens never are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from dataplane.speculation.drafters.context_table import ORDERS
from dataplane.speculation.drafters.memory import Evidence

_PRIOR_WEIGHT = 8.0  # observations that a parent cell is worth
_MEMORY = 200.0  # observations that a cell remembers: older ones fade
_ORDER_INDEX = {order: index for index, order in enumerate(ORDERS)}
_CLIP = 1e-4
_LEAST_DOUBT = 1 - _CLIP
_WORST_LOSS = 3.0  # nats: one surprise is not a drift


def logit(probability: float) -> float:
    clipped = _CLIP if probability < _CLIP else _LEAST_DOUBT if probability > _LEAST_DOUBT else probability
    return math.log(clipped / (1 - clipped))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))


def log_loss(probability: float, accepted: bool) -> float:
    """Nats, at most _WORST_LOSS."""
    return min(_WORST_LOSS, -math.log(max(probability if accepted else 1 - probability, _CLIP)))


@dataclass(slots=True)
class OnlineLogistic:
    """P(accepted) = sigmoid(bias + slope * logit(confidence)), followed by AdaGrad steps on the log-loss.

    Callers take the logit: several of these look at the same confidence.
    """

    bias: float = 0.0
    slope: float = 1.0
    rate: float = 0.15
    _bias_energy: float = 1.0
    _slope_energy: float = 1.0

    def probability(self, feature: float) -> float:
        """feature: the logit of a confidence."""
        return sigmoid(self.bias + self.slope * feature)

    def learn(self, feature: float, accepted: bool) -> float:
        """Returns the probability that was expected before."""
        value = self.bias + self.slope * feature  # what follows is `sigmoid`, without the call
        expected = 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))
        error = expected - accepted
        slant = error * feature
        self._bias_energy = 0.998 * self._bias_energy + error * error
        self._slope_energy = 0.998 * self._slope_energy + slant * slant
        self.bias -= self.rate * error / math.sqrt(self._bias_energy)
        self.slope = min(max(self.slope - self.rate * slant / math.sqrt(self._slope_energy), 0.2), 3.0)
        return expected

    def child(self) -> OnlineLogistic:
        """A copy that learns on its own from here."""
        return OnlineLogistic(self.bias, self.slope, self.rate)


@dataclass(slots=True)
class Rate:
    """A success rate with fading memory."""

    successes: float = 0.0
    trials: float = 0.0

    def learn(self, success: bool) -> None:
        if self.trials >= _MEMORY:
            fade = 1 - 1 / _MEMORY
            self.successes *= fade
            self.trials *= fade
        self.trials += 1
        self.successes += success

    def mean(self, prior: float, weight: float = _PRIOR_WEIGHT) -> float:
        return (self.successes + weight * prior) / (self.trials + weight)


class CellRate(NamedTuple):
    """What the calibration says of one memory token."""

    cell: int
    mean: float
    trials: float  # observations behind it


def sampling_class(temperature: float) -> int:
    """How random the target is: 0 greedy, 1 a little, 2 as the model says or more. What is accepted differs widely."""
    return 0 if temperature == 0 else 1 if temperature < 0.7 else 2


def cell_of(evidence: Evidence, temperature: float) -> int:
    """The calibration cell of a memory token: scope, order, count, dominance, how random the target samples."""
    scope, order, hits, total = evidence
    count = 3 if hits >= 8 else hits.bit_length() - 1  # 1, 2-3, 4-7, 8+
    rest = total - hits
    dominance = 0 if rest == 0 else 1 if 4 * rest <= total else 2
    sampled = sampling_class(temperature)
    where = _ORDER_INDEX[order] + (len(ORDERS) if scope == "project" else 0)
    return ((where * 4 + count) * 3 + dominance) * 3 + sampled


def prior_of(evidence: Evidence, temperature: float) -> float:
    """What to expect of a cell that nobody has seen: cautious, more for longer contexts and for habits."""
    share = evidence.hits / (evidence.total + 1)
    return (0.35 + 0.04 * min(evidence.order, 10)) * min(1.0, 0.5 + share) / (1 + 0.5 * temperature)


@dataclass(slots=True)
class MemoryCalibration:
    """Rates of one project over those of everybody (`pooled`, which all projects share)."""

    pooled: dict[int, Rate]
    _own: dict[int, Rate] = field(default_factory=dict)

    def rate(self, evidence: Evidence, temperature: float) -> CellRate:
        """How often tokens with such evidence have been right."""
        cell = cell_of(evidence, temperature)
        pooled, own = self.pooled.get(cell), self._own.get(cell)
        mean, trials = prior_of(evidence, temperature), 0.0
        if pooled is not None:
            mean, trials = pooled.mean(mean), min(pooled.trials, _PRIOR_WEIGHT)
        if own is not None:
            mean, trials = own.mean(mean), trials + own.trials
        return CellRate(cell, mean, trials)

    def learn(self, cell: int, accepted: bool) -> None:
        for rates in (self.pooled, self._own):
            rate = rates.get(cell)
            if rate is None:
                rate = rates[cell] = Rate()
            rate.learn(accepted)

    def forget(self) -> None:
        """After a shift: start again from the pooled rates."""
        self._own.clear()


@dataclass(slots=True)
class PageHinkley:
    """Detects a lasting rise of a signal's mean (Page, 1954; Hinkley, 1971)."""

    slack: float = 0.2  # a rise of the mean by less than this is no drift
    threshold: float = 8.0
    minimum: int = 40
    mean: float = 0.0
    count: int = 0
    _sum: float = 0.0
    _lowest: float = 0.0

    def learn(self, value: float) -> bool:
        """True once the signal has drifted upwards; then it starts anew."""
        self.count += 1
        self.mean += (value - self.mean) / min(self.count, 500)
        self._sum += value - self.mean - self.slack
        self._lowest = min(self._lowest, self._sum)
        if self.count >= self.minimum and self._sum - self._lowest > self.threshold:
            self.count, self._sum, self._lowest, self.mean = 0, 0.0, 0.0, 0.0
            return True
        return False
