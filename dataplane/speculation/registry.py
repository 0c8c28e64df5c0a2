"""The drafters of one node: the static one, every endpoint's trained delta, every project's memory.

Drafters are untrusted: whatever one raises or proposes costs its request the speed-up and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from dataplane.contracts import LoadedVersion
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.types import EMPTY_PROPOSAL, Candidates, Plan, Proposal, SequenceView, Source

log = logging.getLogger(__name__)


class Delta(Protocol):
    """A tenant's trained delta, loaded and validated."""

    @property
    def num_bytes(self) -> int: ...
    @property
    def texts(self) -> Sequence[Sequence[int]]: ...  # token sequences that warm the tenant memory; may be empty


class NeuralDrafter(Protocol):
    """The static drafter, which also drafts with a tenant's delta on top (`dataplane.speculation.drafters.eagle`)."""

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None: ...
    def propose(
        self, sequences: Sequence[SequenceView], lookaheads: Sequence[int], deltas: Sequence[Delta | None]
    ) -> list[Proposal]: ...
    def release(self, sequence: SequenceView) -> None: ...


@dataclass(frozen=True, slots=True)
class Desired:
    """What an endpoint should run. `path` None: the artifact is not on this node's disk (yet)."""

    project_id: str
    speculator_version_id: str
    path: Path | None


@dataclass(slots=True)
class DeltaRegistry:
    """Trained deltas by endpoint. `refresh` runs in the sync thread, `swap_if_ready` at the engine's step boundary.

    Beyond `max_bytes` the endpoints that drafted longest ago lose theirs (and draft statically); it is loaded again
    by a later `refresh` once there is room.
    """

    load: Callable[[Path], Delta]
    max_bytes: int = 512 << 20
    _running: dict[str, tuple[Desired, Delta]] = field(default_factory=dict)  # by endpoint; least recently used first
    _next: dict[str, tuple[Desired, Delta]] | None = None
    _refused: dict[tuple[str, str], str] = field(default_factory=dict)  # (endpoint, version) -> reason
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        """Load what is new, keep the old one where that fails, and hand over to `swap_if_ready`."""
        with self._lock:
            current = dict(self._running if self._next is None else self._next)
        wanted: dict[str, tuple[Desired, Delta]] = {}
        report = []
        for endpoint_id, want in desired.items():
            held = current.get(endpoint_id)
            if held is not None and held[0].speculator_version_id == want.speculator_version_id:
                wanted[endpoint_id] = held
            else:
                loaded, reason = self._load(endpoint_id, want)
                if loaded is not None:
                    wanted[endpoint_id] = (want, loaded)
                else:
                    report.append(LoadedVersion(endpoint_id, want.speculator_version_id, "refused", reason))
                    if held is not None:
                        wanted[endpoint_id] = held
        with self._lock:
            order = {endpoint_id: index for index, endpoint_id in enumerate(self._running)}
            keep = sorted(wanted, key=lambda endpoint_id: order.get(endpoint_id, len(order)))
            while keep and sum(wanted[endpoint_id][1].num_bytes for endpoint_id in keep) > self.max_bytes:
                keep.pop(0)
            self._next = {endpoint_id: wanted[endpoint_id] for endpoint_id in keep}
            held_now = {endpoint_id: held[0].speculator_version_id for endpoint_id, held in self._next.items()}
        loaded_now = [LoadedVersion(endpoint_id, version, "loaded") for endpoint_id, version in held_now.items()]
        return sorted(loaded_now + report, key=lambda version: version.endpoint_id)

    def swap_if_ready(self) -> list[tuple[str, Desired, Delta]]:
        """Take over what `refresh` prepared. Returns (endpoint, version, delta) of what is new."""
        if self._next is None:
            return []
        with self._lock:
            old, self._running, self._next = self._running, self._next, None
        return [
            (endpoint_id, want, delta)
            for endpoint_id, (want, delta) in self._running.items()
            if endpoint_id not in old or old[endpoint_id][0].speculator_version_id != want.speculator_version_id
        ]

    def of(self, endpoint_id: str) -> Delta | None:
        held = self._running.get(endpoint_id)
        return held[1] if held else None

    def version_of(self, endpoint_id: str) -> str | None:
        """The speculator version that drafts for the endpoint now."""
        held = self._running.get(endpoint_id)
        return held[0].speculator_version_id if held else None

    def touch(self, endpoint_id: str) -> None:
        """The endpoint has a new request: it is now the most recently used."""
        with self._lock:
            held = self._running.pop(endpoint_id, None)
            if held is not None:
                self._running[endpoint_id] = held

    def _load(self, endpoint_id: str, want: Desired) -> tuple[Delta | None, str]:
        key = (endpoint_id, want.speculator_version_id)
        if want.path is None:
            return None, "the artifact is not on this node"
        if key not in self._refused:  # an artifact is immutable: once refused, always refused
            try:
                return self.load(want.path), ""
            except FileNotFoundError:
                return None, "the artifact is not on this node"
            except Exception as error:  # whatever a hostile file makes the loader raise
                log.warning("refused speculator version %s: %s", want.speculator_version_id, error)
                self._refused[key] = str(error) or type(error).__name__
        return None, self._refused[key]


def _no_deltas(path: Path) -> Delta:
    raise ValueError(f"no drafter on this node takes {path.name}")


class DrafterSet:
    """All drafters behind one face, for the step and the engine. One thread (the engine's) uses it, but `refresh`."""

    def __init__(
        self,
        static: NeuralDrafter | None = None,
        memory: TenantMemory | None = None,
        *,
        load_delta: Callable[[Path], Delta] = _no_deltas,
        vocab_size: int,
        max_delta_bytes: int = 512 << 20,
    ) -> None:
        self.memory = TenantMemory() if memory is None else memory
        self.deltas = DeltaRegistry(load_delta, max_delta_bytes)
        self.errors = 0
        self._static = static
        self._vocab_size = vocab_size
        self._broken: dict[int, set[Source]] = {}  # slot -> what raised in this request and is not asked again

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        """Load what the endpoints should run, off the hot path (any thread). Returns the state of every version."""
        return self.deltas.refresh(desired)

    def swap_if_ready(self) -> None:
        """At a step boundary: switch to what `refresh` prepared. Requests go on with the new references."""
        for _, want, delta in self.deltas.swap_if_ready():
            if not self.memory.bytes_of(want.project_id):  # only a cold memory needs the artifact's texts
                for text in delta.texts:
                    self.memory.learn(want.project_id, text)

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        """Committed positions and their features, for the neural drafter's own cache; see `types.Drafter.extend`."""
        if self._static is None or sequence.speculation.mode == "off" or "static" in self._broken_for(sequence):
            return
        try:
            self._static.extend(sequence, start, tokens, features)
        except Exception:
            self._give_up(sequence, "static", "adaptive")

    def candidates(self, sequences: Sequence[SequenceView]) -> list[Candidates]:
        """Who can draft for each sequence, and what the memory proposes."""
        return [self._candidates(sequence) for sequence in sequences]

    def propose(
        self, sequences: Sequence[SequenceView], plans: Sequence[Plan], candidates: Sequence[Candidates]
    ) -> list[Proposal]:
        """One checked proposal per plan, of at most its lookahead."""
        proposals = [
            candidate.memory.cut(plan.lookahead) if plan.source == "memory" else EMPTY_PROPOSAL
            for plan, candidate in zip(plans, candidates, strict=True)
        ]
        neural = [index for index, plan in enumerate(plans) if plan.lookahead and plan.source in ("static", "adaptive")]
        for index, proposal in zip(neural, self._draft(neural, sequences, plans), strict=True):
            plan = plans[index]
            if plan.extend_with_memory and len(proposal) < plan.lookahead and proposal.draft_probs is None:
                tail = self._recall(sequences[index], plan.lookahead - len(proposal), proposal.tokens)
                proposal = _join(proposal, tail)
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
        self._broken.pop(sequence.slot, None)

    def purge(self, project_id: str) -> None:
        """Forget what the memory learned from the project's requests."""
        self.memory.purge(project_id)

    def _broken_for(self, sequence: SequenceView) -> set[Source]:
        return self._broken.get(sequence.slot, set())

    def _candidates(self, sequence: SequenceView) -> Candidates:
        policy, broken = sequence.speculation, self._broken_for(sequence)
        room = min(policy.max_lookahead, sequence.num_remaining - 1)
        if policy.mode == "off" or room <= 0:
            return Candidates()
        neural: tuple[Source, ...] = ()
        if self._static is not None and "static" not in broken:
            neural = ("static",)
            if policy.mode == "adaptive" and "adaptive" not in broken and self.deltas.of(sequence.endpoint_id):
                neural = ("static", "adaptive")
        if policy.mode != "adaptive":
            return Candidates(EMPTY_PROPOSAL, neural)
        return Candidates(self._recall(sequence, room), neural)

    def _recall(self, sequence: SequenceView, lookahead: int, drafted: Sequence[int] = ()) -> Proposal:
        if "memory" in self._broken_for(sequence):
            return EMPTY_PROPOSAL
        try:
            return self.memory.propose(sequence, lookahead, drafted)
        except Exception:
            self._give_up(sequence, "memory")
            return EMPTY_PROPOSAL

    def _draft(
        self, indices: Sequence[int], sequences: Sequence[SequenceView], plans: Sequence[Plan]
    ) -> list[Proposal]:
        """Neural proposals of these sequences. If the batch raises, each is tried alone: only the culprit pays."""
        if not indices or self._static is None:
            return []
        batch = [sequences[index] for index in indices]
        lookaheads = [plans[index].lookahead for index in indices]
        deltas = [
            self.deltas.of(sequences[index].endpoint_id) if plans[index].source == "adaptive" else None
            for index in indices
        ]
        try:
            proposals = self._static.propose(batch, lookaheads, deltas)
            for proposal, lookahead in zip(proposals, lookaheads, strict=True):
                self._check(proposal, lookahead)
            return proposals
        except Exception:
            if len(indices) == 1:
                self._give_up(batch[0], "adaptive" if deltas[0] is not None else "static", "adaptive")
                return [EMPTY_PROPOSAL]
        return [proposal for index in indices for proposal in self._draft([index], sequences, plans)]

    def _check(self, proposal: Proposal, lookahead: int) -> None:
        if not len(proposal.tokens) == len(proposal.confidences) == len(proposal.sources) <= lookahead:
            raise ValueError(f"a proposal of {len(proposal)} tokens for a lookahead of {lookahead}")
        if proposal.tokens and not 0 <= min(proposal.tokens) <= max(proposal.tokens) < self._vocab_size:
            raise ValueError("a drafted token outside of the vocabulary")
        if proposal.draft_probs is not None and proposal.draft_probs.shape != (len(proposal), self._vocab_size):
            raise ValueError(f"draft probabilities of shape {tuple(proposal.draft_probs.shape)}")

    def _give_up(self, sequence: SequenceView, *sources: Source) -> None:
        """While an exception is handled: count and log it; this request does not ask these drafters again."""
        self.errors += 1
        self._broken.setdefault(sequence.slot, set()).update(sources)
        log.exception("drafter failed for a request of project %s: %s", sequence.project_id, ", ".join(sources))


def _join(head: Proposal, tail: Proposal) -> Proposal:
    evidence = head.evidence or (None,) * len(head)
    return Proposal(
        head.tokens + tail.tokens,
        head.confidences + tail.confidences,
        head.sources + tail.sources,
        None,
        evidence + tail.evidence,
    )
