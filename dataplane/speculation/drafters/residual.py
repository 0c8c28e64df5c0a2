"""Residual logit memory (T1): what the tenant's target said after short contexts, mixed into a neural draft.

For every context of at most 24 tokens the tenant memory's tables know the few tokens that followed most often. Over the
drafted token and these, an expert for each context length gives a Dirichlet posterior centred on that of the next
shorter one, and the shortest on the draft,

    chance = (count + weight * centre) / (total + weight)        weight = kappa / length of the context

and the draft itself is an expert, too. They are weighted by fixed-share exponentiated gradient (Herbster and Warmuth,
1998), one set of weights for each project. The chain keeps to the draft as long as the mixture does; where it prefers
another token, that one takes its place and the neural draft ends, for what it said next was about another text. It
needs the drafted token and its probability only, so any drafter will do. Where no context was seen the draft stays as
it is, token and confidence, to the bit: a cold start is the static drafter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dataplane.speculation.drafters.context_table import ORDERS, Mix
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.types import Proposal, SequenceView, Source

KAPPA = 4.0  # observations that the draft is worth beside a context of one token; fewer beside longer ones
OTHER = 0.1  # of what the draft leaves to other tokens, the share of one that the tables know
_RATE = 0.5  # of the exponentiated gradient on the log-loss; 1 would be Bayes
_SHARE = 0.01  # of all weight that is dealt out equally after each token, so that no expert is lost for ever
_FLOOR = 0.002  # probability of a token that an expert does not know
_MAX_PROJECTS = 4096
_EXPERTS = 1 + len(ORDERS)


@dataclass(slots=True)
class ResidualMemory:
    """Mixes counts into drafts, and learns whom to believe. One thread (the engine's) uses it."""

    memory: TenantMemory
    _weights: dict[str, list[float]] = field(default_factory=dict)  # by project, oldest first; each sums to 1
    _pending: dict[int, list[Mix | None]] = field(default_factory=dict)  # by slot: what was said of each drafted place

    def mix(self, sequence: SequenceView, proposal: Proposal) -> tuple[Proposal, bool]:
        """A neural proposal (deterministic) as the tenant's own. True: its last token is not the drafter's."""
        pending: list[Mix | None] = []
        self._pending[sequence.slot] = pending
        weights = self.weights_of(sequence.project_id)
        tokens, confidences, turns = list(proposal.tokens), list(proposal.confidences), False
        for place, (token, confidence) in enumerate(zip(proposal.tokens, proposal.confidences, strict=True)):
            mixed = self.memory.mix(sequence, tokens[:place], (token,), (confidence,), OTHER * (1 - confidence), KAPPA)
            pending.append(mixed)
            if mixed is None:
                continue
            chances = [
                sum([weight * chance for weight, chance in zip(weights, column, strict=True)])
                for column in zip(*mixed.experts, strict=True)
            ]
            best = max(range(len(chances)), key=chances.__getitem__)
            tokens[place], confidences[place] = mixed.tokens[best], min(chances[best], 1.0)
            if best:
                tokens, confidences, turns = tokens[: place + 1], confidences[: place + 1], True
                break
        source: Source = "adaptive"
        sources = (source,) * len(tokens)
        # Where another token comes first, it may be one of the alternatives: then there are none.
        beside = len(proposal.alternatives) if proposal.tokens[:1] == tuple(tokens[:1]) else 0
        kept = proposal.cut(len(tokens), beside)
        return replace(kept, tokens=tuple(tokens), confidences=tuple(confidences), sources=sources), turns

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
        """How much each expert is believed: the draft, then the contexts of ORDERS."""
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
