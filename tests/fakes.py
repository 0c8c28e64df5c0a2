"""Small stand-ins for the seams: a target model with a known distribution, sequences, drafters that behave or don't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dataplane.speculation.types import (
    NOTHING_CHOSEN,
    Proposal,
    SamplingParams,
    Scores,
    SequenceView,
    Source,
    SpeculationPolicy,
    memory_scope,
)


@dataclass(slots=True)
class FakeSequence:
    """A running sequence."""

    tokens: list[int]
    slot: int = 0
    project_id: str = "prj_a"
    deployment_id: str = "end_a"
    max_tokens: int = 64
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationPolicy = field(default_factory=SpeculationPolicy)
    num_logprobs: int | None = None
    num_prompt_tokens: int = -1
    end_user_id: str = ""

    @property
    def memory_scope(self) -> str:
        return memory_scope(self.project_id, self.end_user_id)

    def __post_init__(self) -> None:
        if self.num_prompt_tokens < 0:
            self.num_prompt_tokens = len(self.tokens)

    @property
    def output(self) -> list[int]:
        return self.tokens[self.num_prompt_tokens :]

    @property
    def num_remaining(self) -> int:
        return self.max_tokens - len(self.output)


@dataclass(frozen=True, slots=True)
class FakeDelta:
    """A trained delta; what it says of itself is all that the registry looks at."""

    size_bytes: int
    memory: tuple[tuple[int, ...], ...] = ()


class FakeTarget:
    """The next token depends on the last two (a random table); `committed` counts the KV rows of each slot."""

    def __init__(
        self, vocab_size: int = 12, *, seed: int = 0, sharpness: float = 3.0, max_alternatives: int = 3
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = sharpness * torch.randn(vocab_size, vocab_size, vocab_size, generator=generator)
        self.committed: dict[int, int] = {}
        self.max_alternatives = max_alternatives
        self._pending: list[Proposal] = []

    def logits(self, tokens: Sequence[int]) -> torch.Tensor:  # [V]
        return self.table[tokens[-2] if len(tokens) > 1 else 0, tokens[-1]]

    def score(self, sequences: Sequence[SequenceView], proposals: Sequence[Proposal]) -> Scores:
        rows, offsets = [], [0]
        for sequence, proposal in zip(sequences, proposals, strict=True):
            context = list(sequence.tokens)
            assert self.committed.setdefault(sequence.slot, len(context) - 1) == len(context) - 1
            for token in (None, *proposal.tokens):
                context += [] if token is None else [token]
                rows.append(self.logits(context))
            assert len(proposal.alternatives) <= self.max_alternatives
            rows += [self.logits([*sequence.tokens, token]) for token in proposal.alternatives]
            offsets.append(len(rows))
        self._pending = list(proposals)
        best = [int(row.argmax()) for row in rows]
        return Scores(torch.stack(rows), torch.zeros(len(rows), 3), tuple(offsets), best)

    def commit(
        self, sequences: Sequence[SequenceView], num_accepted: Sequence[int], chosen: Mapping[int, int] = NOTHING_CHOSEN
    ) -> None:
        for index, (sequence, accepted, proposal) in enumerate(
            zip(sequences, num_accepted, self._pending, strict=True)
        ):
            assert 0 <= accepted <= len(proposal)
            if index in chosen:
                assert accepted == 0
                assert chosen[index] < len(proposal.alternatives)
            self.committed[sequence.slot] += accepted + 1 + (index in chosen)


class FakeDrafter:
    """Knows the fake target and drafts its likeliest token with probability `skill`, else any; `fails` raises."""

    def __init__(self, target: FakeTarget, *, skill: float = 0.7, seed: int = 0, fails: bool = False) -> None:
        self.skill, self.fails = skill, fails
        self.extended: dict[int, int] = {}
        self._target = target
        self._random = torch.Generator().manual_seed(seed)

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        assert self.extended.get(sequence.slot, start) == start
        assert features.shape[0] == len(tokens)
        self.extended[sequence.slot] = start + len(tokens)

    def propose(
        self,
        sequences: Sequence[SequenceView],
        lookaheads: Sequence[int],
        deltas: Sequence[object],
        *,
        num_alternatives: int = 0,
    ) -> list[Proposal]:
        if self.fails:
            raise RuntimeError("out of draft memory")
        proposals = []
        for sequence, lookahead, delta in zip(sequences, lookaheads, deltas, strict=True):
            context = list(sequence.tokens)
            confidences = []
            for _ in range(lookahead):
                logits = self._target.logits(context)
                right = float(torch.rand((), generator=self._random)) < self.skill
                other = torch.randint(len(logits), (), generator=self._random)
                context.append(int(logits.argmax() if right else other))
                confidences.append(self.skill)
            sources: tuple[Source, ...] = ("static" if delta is None else "adaptive",) * lookahead
            tokens = tuple(context[len(sequence.tokens) :])
            logits = self._target.logits(sequence.tokens)
            others = [token for token in logits.topk(num_alternatives + 1).indices.tolist() if token not in tokens[:1]]
            others = others[:num_alternatives] if tokens else []
            chances = tuple(0.2 for _ in others)
            proposals.append(
                Proposal(
                    tokens, tuple(confidences), sources, alternatives=tuple(others), alternative_confidences=chances
                )
            )
        return proposals

    def release(self, sequence: SequenceView) -> None:
        self.extended.pop(sequence.slot, None)

    def load_delta(self, path: Path) -> FakeDelta:
        text = path.read_text()
        if text.startswith("corrupt"):
            raise ValueError("checksum of lm_head does not match")
        return FakeDelta(len(text), ((40, 41, 42, 43, 44),))
