"""Residual logit memory (T1): what the tenant's target said after short contexts, mixed into a neural draft.

For every short context the tenant memory's tables know the few tokens that followed most often. Over the drafter's
likeliest tokens and these, an expert for each context length gives the Dirichlet posterior centred on the draft,

    chance = (count + kappa * drafted) / (total + kappa)

and the draft itself is an expert, too. They are weighted by fixed-share exponentiated gradient (Herbster and Warmuth,
1998), one set of weights for each project. Where no context was seen the draft stays as it is, token and confidence,
to the bit: a cold start is the static drafter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataplane.speculation.drafters.context_table import MIXED_ORDERS, Mix
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.types import SequenceView

KAPPA = 2.0  # observations that the draft is worth
_RATE = 0.5  # of the exponentiated gradient on the log-loss; 1 would be Bayes
_SHARE = 0.01  # of all weight that is dealt out equally after each token, so that no expert is lost for ever
_FLOOR = 0.002  # probability of a token that an expert does not know
_MAX_PROJECTS = 4096
_EXPERTS = 1 + len(MIXED_ORDERS)


@dataclass(slots=True)
class ResidualMemory:
    """Chooses among drafted candidates, and learns whom to believe. One thread (the engine's) uses it."""

    memory: TenantMemory
    _weights: dict[str, list[float]] = field(default_factory=dict)  # by project, oldest first; each sums to 1
    _pending: dict[int, list[Mix | None]] = field(default_factory=dict)  # by slot: what was said of each drafted place

    def choose(
        self, sequence: SequenceView, drafted: Sequence[int], candidates: Sequence[int], probs: Sequence[float]
    ) -> tuple[int, float]:
        """The likeliest token after the sequence and `drafted`, and its probability.

        `candidates` with their `probs` are the drafter's likeliest tokens, the likeliest first.
        """
        mixed = self.memory.mix(sequence, drafted, candidates, probs, KAPPA)
        pending = self._pending.setdefault(sequence.slot, [])
        if not drafted:
            pending.clear()
        pending.append(mixed)
        if mixed is None:
            return candidates[0], probs[0]
        weights = self.weights_of(sequence.project_id)
        chances = [
            sum([weight * chance for weight, chance in zip(weights, column, strict=True)])
            for column in zip(*mixed.experts, strict=True)
        ]
        best = max(range(len(chances)), key=chances.__getitem__)
        return mixed.tokens[best], min(chances[best], 1.0)

    def observe(self, sequence: SequenceView, emitted: Sequence[int]) -> None:
        """`emitted` follows what was drafted for; the drafts before the first difference had the right context."""
        pending = self._pending.pop(sequence.slot, None)
        if not pending:
            return
        for mixed, token in zip(pending, emitted, strict=False):
            if mixed is not None and token in mixed.tokens:
                place = mixed.tokens.index(token)
                self._learn(sequence.project_id, [max(expert[place], _FLOOR) for expert in mixed.experts])

    def release(self, sequence: SequenceView) -> None:
        self._pending.pop(sequence.slot, None)

    def purge(self, project_id: str) -> None:
        self._weights.pop(project_id, None)

    def weights_of(self, project_id: str) -> list[float]:
        """How much each expert is believed: the draft, then the contexts of MIXED_ORDERS."""
        weights = self._weights.get(project_id)
        if weights is None:
            while len(self._weights) >= _MAX_PROJECTS:
                del self._weights[next(iter(self._weights))]
            weights = self._weights[project_id] = [1 / _EXPERTS] * _EXPERTS
        return weights

    def _learn(self, project_id: str, chances: Sequence[float]) -> None:
        weights = [weight * chance**_RATE for weight, chance in zip(self.weights_of(project_id), chances, strict=True)]
        total = sum(weights)
        self._weights[project_id] = [(1 - _SHARE) * weight / total + _SHARE / _EXPERTS for weight in weights]
