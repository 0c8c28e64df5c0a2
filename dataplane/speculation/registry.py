"""The drafters of one node: the static one, every deployment's trained delta, every project's memory.

Drafters are untrusted: whatever one raises or proposes costs its request the speed-up and nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from dataplane.contracts import LoadedVersion
from dataplane.speculation.deltas import Delta, DeltaRegistry
from dataplane.speculation.deltas import Desired as Desired
from dataplane.speculation.drafters.context_table import ContextTable
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.drafters.residual import ResidualMemory
from dataplane.speculation.types import EMPTY_PROPOSAL, Candidates, Plan, Proposal, SequenceView, Source

_MAX_WAITING = 256  # committed positions per sequence that may wait for the neural drafter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Which parts of the adaptive drafter are on. Without any of them "adaptive" is the static drafter."""

    memory: bool = True  # T0: the tenant memory proposes tokens of its own
    residual: bool = False  # T1: its counts are mixed into neural drafts; off until it pays in speed (decision 0023)
    delta: bool = True  # T2: the trained delta


class NeuralDrafter(Protocol):
    """The static drafter, which also drafts with a tenant's delta on top (`dataplane.speculation.drafters.eagle`)."""

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None: ...
    def propose(
        self,
        sequences: Sequence[SequenceView],
        lookaheads: Sequence[int],
        deltas: Sequence[Any],
        *,
        num_alternatives: int,
    ) -> list[Proposal]: ...
    def release(self, sequence: SequenceView) -> None: ...
    def load_delta(self, path: Path) -> Delta: ...


@dataclass(frozen=True, slots=True)
class _Committed:
    """Positions from `start` on: the tokens after them, and the target's features at them [n, F]."""

    start: int
    tokens: Sequence[int]
    features: torch.Tensor


def _no_deltas(path: Path) -> Delta:
    raise ValueError(f"no drafter on this node takes {path.name}")


class DrafterSet:
    """All drafters behind one face, for the step and the engine. One thread (the engine's) uses it, but `refresh`."""

    def __init__(
        self,
        static: NeuralDrafter | None = None,
        memory: TenantMemory | None = None,
        *,
        vocab_size: int,
        max_delta_bytes: int = 512 << 20,
        tiers: Tiers = Tiers(),
    ) -> None:
        self.memory = TenantMemory() if memory is None else memory
        self.tiers = tiers
        self.residual = ResidualMemory(self.memory) if tiers.residual else None
        self.deltas = DeltaRegistry(_no_deltas if static is None else static.load_delta, max_delta_bytes)
        self.errors = 0
        self._static = static
        self._vocab_size = vocab_size
        # By project, what it begins from, or None: purge it. Filled by other threads, emptied in order at a boundary.
        self._memory_changes: deque[tuple[str, ContextTable | None]] = deque()
        self._waiting: dict[int, list[_Committed]] = {}  # by slot: what the neural drafter has not read yet
        self._broken: dict[int, set[Source]] = {}  # slot -> what raised in this request and is not asked again

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        """Load what the deployments should run, off the hot path (any thread). Returns the state of every version."""
        report = self.deltas.refresh(desired)
        for want, delta in self.deltas.fresh():
            if delta.memory and not self.memory.bytes_of(want.project_id):  # a cold memory, as after a restart
                self._memory_changes.append((want.project_id, self.memory.table_of(delta.memory)))
        return report

    def swap_if_ready(self) -> None:
        """At a step boundary: switch to what `refresh` prepared. Requests go on with the new references."""
        self.deltas.swap_if_ready()
        self._change_memories()
        self.memory.restore()

    def _change_memories(self) -> None:
        while self._memory_changes:
            project_id, table = self._memory_changes.popleft()
            if table is not None:
                self.memory.adopt(project_id, table)
                continue
            self.memory.purge(project_id)
            if self.residual is not None:
                self.residual.purge(project_id)

    def version_of(self, deployment_id: str) -> str | None:
        """The speculator version that drafts for the deployment now; None: the static drafter alone."""
        return self.deltas.version_of(deployment_id)

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        """Committed positions and their features, for the neural drafter's own cache; see `types.Drafter.extend`.

        They wait until it is asked to draft: while the memory drafts, or nobody does, they cost nothing, and many
        rows at once cost hardly more than one.
        """
        if self.residual is not None:
            self.residual.observe(sequence, tokens)
        if self._static is None or sequence.speculation.mode == "off" or "static" in self._broken_for(sequence):
            return
        waiting = self._waiting.setdefault(sequence.slot, [])
        waiting.append(_Committed(start, tokens, features))
        if sum(len(part.tokens) for part in waiting) >= _MAX_WAITING:
            self._extend_now(sequence)

    def candidates(self, sequences: Sequence[SequenceView]) -> list[Candidates]:
        """Who can draft for each sequence, and what the memory proposes."""
        return [self._candidates(sequence) for sequence in sequences]

    def propose(
        self,
        sequences: Sequence[SequenceView],
        plans: Sequence[Plan],
        candidates: Sequence[Candidates],
        *,
        num_alternatives: int = 0,
    ) -> list[Proposal]:
        """One checked proposal per plan: of at most its lookahead, or the policy's if the memory continues it.

        Neural ones come with up to `num_alternatives` alternatives.
        """
        proposals = [
            candidate.memory.cut(plan.lookahead) if plan.source == "memory" else EMPTY_PROPOSAL
            for plan, candidate in zip(plans, candidates, strict=True)
        ]
        neural = [
            index
            for index, (sequence, plan) in enumerate(zip(sequences, plans, strict=True))
            if plan.lookahead and plan.source in ("static", "adaptive") and self._extend_now(sequence)
        ]
        for index, proposal in zip(neural, self._draft(neural, sequences, plans, num_alternatives), strict=True):
            plan, sequence = plans[index], sequences[index]
            is_changed = False
            if plan.source == "adaptive":
                proposal, is_changed = self._mix(sequence, proposal)
            room = _room(sequence) - len(proposal)
            wants_more = plan.extend_with_memory or (is_changed and len(proposal) < plan.lookahead)
            if self.tiers.memory and wants_more and room > 0 and proposal.draft_probs is None:
                proposal = _join(proposal, self._recall(sequence, room, proposal.tokens))
            proposals[index] = proposal
        return proposals

    def release(self, sequence: SequenceView) -> None:
        """The sequence has ended: free what is kept for its slot, and let the memory learn the rest of it."""
        if self._static is not None:
            try:
                self._static.release(sequence)
            except Exception:
                self._give_up(sequence, "static")
        try:
            self.memory.release(sequence)
        except Exception:
            self._give_up(sequence, "memory")
        if self.residual is not None:
            self.residual.release(sequence)
        self._broken.pop(sequence.slot, None)
        self._waiting.pop(sequence.slot, None)

    def purge(self, project_id: str) -> None:
        """Forget what the memory learned from the project's requests, before the next step (any thread)."""
        self._memory_changes.append((project_id, None))

    @property
    def has_memory_changes(self) -> bool:
        """Is there something that `swap_if_ready` should not wait for the next request with (any thread)?"""
        return bool(self._memory_changes)

    def close(self) -> None:
        """No request runs any more: put on the disk what the memory has learned and need not forget."""
        self._change_memories()
        self.memory.close()

    def _extend_now(self, sequence: SequenceView) -> bool:
        """Hand what waits to the neural drafter. False: it failed, and this request does without."""
        waiting = self._waiting.pop(sequence.slot, None)
        if waiting is None or self._static is None:
            return True
        tokens = [token for part in waiting for token in part.tokens]
        features = waiting[0].features if len(waiting) == 1 else torch.cat([part.features for part in waiting])
        try:
            self._static.extend(sequence, waiting[0].start, tokens, features)
        except Exception:
            self._give_up(sequence, "static", "adaptive")
            return False
        return True

    def _broken_for(self, sequence: SequenceView) -> set[Source]:
        return self._broken.get(sequence.slot, set())

    def _candidates(self, sequence: SequenceView) -> Candidates:
        policy, broken = sequence.speculation, self._broken_for(sequence)
        room = _room(sequence)
        if policy.mode == "off" or room <= 0:
            return Candidates()
        neural: tuple[Source, ...] = ("static",) if self._static is not None and "static" not in broken else ()
        if policy.mode == "static":
            return Candidates(EMPTY_PROPOSAL, neural)
        version = None
        if neural and "adaptive" not in broken:
            if self.tiers.delta and self.deltas.of(sequence.deployment_id) is not None:
                version = self.deltas.version_of(sequence.deployment_id)
            if version is not None or self.residual is not None:
                neural = ("static", "adaptive")
        return Candidates(self._recall(sequence, room) if self.tiers.memory else EMPTY_PROPOSAL, neural, version)

    def _recall(self, sequence: SequenceView, lookahead: int, drafted: Sequence[int] = ()) -> Proposal:
        if "memory" in self._broken_for(sequence):
            return EMPTY_PROPOSAL
        try:
            return self._known(self.memory.propose(sequence, lookahead, drafted))
        except Exception:
            self._give_up(sequence, "memory")
            return EMPTY_PROPOSAL

    def _known(self, proposal: Proposal) -> Proposal:
        """Up to the first token that the target doesn't have: what a memory learned may be of another model."""
        tokens = proposal.tokens
        if not tokens or (max(tokens) < self._vocab_size and min(tokens) >= 0):
            return proposal
        return proposal.cut(next(place for place, one in enumerate(tokens) if not 0 <= one < self._vocab_size))

    def _mix(self, sequence: SequenceView, proposal: Proposal) -> tuple[Proposal, bool]:
        """The tenant's own draft: a neural one with the residual memory mixed in. True: it took another turn."""
        if self.residual is None or proposal.draft_probs is not None or "memory" in self._broken_for(sequence):
            return proposal, False
        try:
            mixed, is_changed = self.residual.mix(sequence, proposal)
            return self._known(mixed), is_changed
        except Exception:
            self._give_up(sequence, "memory")
            return proposal, False

    def _draft(
        self, indices: Sequence[int], sequences: Sequence[SequenceView], plans: Sequence[Plan], num_alternatives: int
    ) -> list[Proposal]:
        """Neural proposals of these sequences. If the batch raises, each is tried alone: only the culprit pays."""
        if not indices or self._static is None:
            return []
        batch = [sequences[index] for index in indices]
        lookaheads = [plans[index].lookahead for index in indices]
        deltas = [
            self.deltas.of(sequences[index].deployment_id)
            if plans[index].source == "adaptive" and self.tiers.delta
            else None
            for index in indices
        ]
        try:
            proposals = self._static.propose(batch, lookaheads, deltas, num_alternatives=num_alternatives)
            for proposal, lookahead in zip(proposals, lookaheads, strict=True):
                self._check(proposal, lookahead)
            return proposals
        except Exception:
            if len(indices) == 1:
                self._give_up(batch[0], "adaptive" if plans[indices[0]].source == "adaptive" else "static", "adaptive")
                return [EMPTY_PROPOSAL]
        return [proposal for index in indices for proposal in self._draft([index], sequences, plans, num_alternatives)]

    def _check(self, proposal: Proposal, lookahead: int) -> None:
        if not len(proposal.tokens) == len(proposal.confidences) == len(proposal.sources) <= lookahead:
            raise ValueError(f"a proposal of {len(proposal)} tokens for a lookahead of {lookahead}")
        if proposal.tokens and not 0 <= min(proposal.tokens) <= max(proposal.tokens) < self._vocab_size:
            raise ValueError("a drafted token outside of the vocabulary")
        if not set(proposal.sources) <= {"static", "adaptive"}:
            raise ValueError(f"a neural drafter speaks for {', '.join(proposal.sources)}")
        others = proposal.alternatives
        if len(others) != len(proposal.alternative_confidences) or len({*others, *proposal.tokens[:1]}) <= len(others):
            raise ValueError("alternatives that are none, or without their confidences")
        if others and (proposal.draft_probs is not None or not 0 <= min(others) <= max(others) < self._vocab_size):
            raise ValueError("alternatives outside of the vocabulary, or beside a sampled draft")
        # What a NaN touches stays NaN, and the controller's pooled rates are everybody's.
        confidences = (*proposal.confidences, *proposal.alternative_confidences)
        if not all(0.0 <= confidence <= 1.0 for confidence in confidences):
            raise ValueError("a confidence that is not a probability")
        if proposal.draft_probs is not None and proposal.draft_probs.shape != (len(proposal), self._vocab_size):
            raise ValueError(f"draft probabilities of shape {tuple(proposal.draft_probs.shape)}")
        if proposal.draft_probs is not None and not bool((proposal.draft_probs >= 0).all()):
            raise ValueError("draft probabilities that are negative or not numbers")

    def _give_up(self, sequence: SequenceView, *sources: Source) -> None:
        """While an exception is handled: count and log it; this request does not ask these drafters again."""
        self.errors += 1
        self._broken.setdefault(sequence.slot, set()).update(sources)
        log.exception("drafter failed for a request of project %s: %s", sequence.project_id, ", ".join(sources))


def _room(sequence: SequenceView) -> int:
    """Draft tokens that the policy allows and the request can still use: a step emits one token beyond its drafts."""
    return min(sequence.speculation.max_lookahead, sequence.num_remaining - 1)


def _join(head: Proposal, tail: Proposal) -> Proposal:
    evidence = head.evidence or (None,) * len(head)
    return Proposal(
        head.tokens + tail.tokens,
        head.confidences + tail.confidences,
        head.sources + tail.sources,
        None,
        evidence + tail.evidence,
        head.alternatives,
        head.alternative_confidences,
    )
