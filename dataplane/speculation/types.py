"""Values and seams of a speculative step, shared by every engine.

    controller.plan -> drafter.propose -> controller.cut -> target.score -> verify -> target.commit -> observe

Notation: B sequences in the batch, R = sum(len(proposal) + 1) scored rows, V target vocabulary,
H hidden size, F = 3 H width of the captured features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

import torch

Mode = Literal["off", "static", "adaptive"]
# Who drafted a token. "adaptive" is the static drafter with what the tenant adds: residual memory and trained delta.
Source = Literal["none", "static", "adaptive", "memory"]
SOURCES: tuple[Source, ...] = ("none", "static", "adaptive", "memory")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What the client asked of the target distribution. temperature 0 is greedy decoding.

    top_k 0, top_p 1.0 and min_p 0.0 switch the respective filter off, repetition_penalty 1.0 itself. `logit_bias` maps
    token id to an additive bias.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpeculationPolicy:
    """The deployment's policy after the request's (downward) override. max_lookahead 0 is plain decoding."""

    mode: Mode = "adaptive"
    max_lookahead: int = 8
    # May the tenant memory keep this request's tokens for later requests? Within the request it always may look.
    remember: bool = False


def memory_scope(project_id: str, end_user_id: str) -> str:
    """The name of a tenant memory: the project's, or one of its end users'."""
    return f"{project_id}/{end_user_id}" if end_user_id else project_id


def project_of(scope: str) -> str:
    """Whose tenant memory it is."""
    return scope.partition("/")[0]


class SequenceView(Protocol):
    """What speculation sees of a running sequence. Invariant: all of `tokens` but the last are in the KV cache."""

    @property
    def slot(self) -> int: ...  # KV slot, unique among running sequences
    @property
    def project_id(self) -> str: ...
    @property
    def memory_scope(self) -> str: ...  # whose requests share what the tenant memory learns: `memory_scope(...)`
    @property
    def deployment_id(self) -> str: ...  # which trained delta the adaptive drafter uses
    @property
    def tokens(self) -> Sequence[int]: ...  # prompt + output; the last one is the root of the next step
    @property
    def num_prompt_tokens(self) -> int: ...
    @property
    def sampling(self) -> SamplingParams: ...
    @property
    def speculation(self) -> SpeculationPolicy: ...
    @property
    def num_remaining(self) -> int: ...  # tokens that may still be emitted: a lookahead beyond it is waste
    @property
    def num_logprobs(self) -> int | None: ...  # None: none; 0: of the chosen token; n: and of the n likeliest


@dataclass(frozen=True, slots=True)
class Proposal:
    """A chain of draft tokens for one sequence.

    `draft_probs` None means a deterministic (one-hot) proposal: then any choice of tokens and length that looks only
    at the context is lossless. `confidences[i]` is the drafter's estimate, before calibration, that token i is what
    the target emits given that all before it were.
    """

    tokens: tuple[int, ...] = ()
    confidences: tuple[float, ...] = ()
    sources: tuple[Source, ...] = ()
    draft_probs: torch.Tensor | None = None  # [len(tokens), V] float32
    # Evidence for calibration, one mapping per token (memory: match length, count, dominance, ...).
    evidence: tuple[object, ...] = ()
    # Other candidates for the first place, likeliest first, with their confidences. At most one is accepted: the one
    # that the target emits there instead of tokens[0]. None may be tokens[0], or stand beside `draft_probs`.
    alternatives: tuple[int, ...] = ()
    alternative_confidences: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def num_rows(self) -> int:
        """Rows that its scoring takes: the root, the chain, the alternatives."""
        return 1 + len(self.tokens) + len(self.alternatives)

    def cut(self, length: int, num_alternatives: int = 0) -> Proposal:
        """The first `length` tokens and `num_alternatives` alternatives."""
        if length >= len(self.tokens) and num_alternatives >= len(self.alternatives):
            return self
        return Proposal(
            self.tokens[:length],
            self.confidences[:length],
            self.sources[:length],
            None if self.draft_probs is None else self.draft_probs[:length],
            self.evidence[:length],
            self.alternatives[:num_alternatives],
            self.alternative_confidences[:num_alternatives],
        )


EMPTY_PROPOSAL = Proposal()
NOTHING_CHOSEN: Mapping[int, int] = MappingProxyType({})  # index of a sequence -> its accepted alternative


@dataclass(frozen=True, slots=True)
class Plan:
    """The controller's wish for one sequence in this step: who drafts and at most how many tokens."""

    source: Source = "none"
    lookahead: int = 0
    # Let the memory continue a neural proposal, up to the policy's limit.
    extend_with_memory: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may draft for one sequence in this step, before the controller decides."""

    memory: Proposal = EMPTY_PROPOSAL  # the tenant memory's proposal: it costs next to nothing, so it is always there
    neural: tuple[Source, ...] = ()  # which of "static" and "adaptive" can be asked
    version: str | None = None  # the speculator version behind "adaptive"


@dataclass(frozen=True, slots=True)
class Scores:
    """One target forward. Rows of sequence i are offsets[i]:offsets[i+1]: root, draft tokens, alternatives."""

    logits: torch.Tensor  # [R, V] float32 or bfloat16
    features: torch.Tensor  # [R, F] the captured hidden states of the scored rows
    offsets: tuple[int, ...]  # B + 1 row offsets
    best: Sequence[int] | None = None  # [R] argmax of the logits, the lowest of equals, where the target knows it


class TargetModel(Protocol):
    """The served model as speculation sees it."""

    max_alternatives: int  # of one proposal; 0: it scores chains only

    def score(self, sequences: Sequence[SequenceView], proposals: Sequence[Proposal]) -> Scores:
        """Run root, draft tokens and alternatives of every sequence through the target in one forward.

        An alternative stands where the first draft token does and sees what that one sees. KV rows are provisional.
        """

    def commit(
        self, sequences: Sequence[SequenceView], num_accepted: Sequence[int], chosen: Mapping[int, int] = NOTHING_CHOSEN
    ) -> None:
        """Keep the KV rows of root + num_accepted[i] draft tokens; forget the rejected ones.

        `chosen[i]`: the alternative of sequence i that is kept instead of a draft token; num_accepted[i] is 0 then.
        """


class Drafter(Protocol):
    """A runtime drafter. It is untrusted: it may raise, and then its sequences run at lookahead 0."""

    source: Source

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        """Positions start..start+n of `sequence` are committed; features [n, F] are the target's at them.

        `tokens[i]` is the token *after* position start+i (EAGLE pairs feature t with the embedding of t+1).
        The features may be kept until the sequence is released: nobody writes to them any more.
        """

    def propose(self, sequences: Sequence[SequenceView], lookaheads: Sequence[int]) -> list[Proposal]:
        """One proposal per sequence, of at most its lookahead."""

    def observe(self, sequence: SequenceView, new_tokens: Sequence[int]) -> None:
        """`new_tokens` were just appended to `sequence` (they are the target's own)."""

    def release(self, sequence: SequenceView) -> None:
        """The sequence has ended: free what is kept for its slot."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Seconds spent in the parts of one speculative step, for the controller's latency table and for the metrics."""

    plan: float = 0.0  # controller, memory look-ups, bookkeeping
    draft: float = 0.0  # neural drafting
    score: float = 0.0  # the target's forward
    verify: float = 0.0
    observe: float = 0.0


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one step did to one sequence."""

    proposal: Proposal
    num_accepted: int  # of the chain
    new_tokens: tuple[int, ...]  # accepted tokens (or the alternative), then the recovered or bonus token
    logprobs: tuple[float, ...] = ()  # target log-probability of each new token, when asked for
    plan: Plan = field(default_factory=Plan)
    # Of each new token, the n likeliest (token id, log-probability), likeliest first, when asked for.
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] = ()
    alternative: int | None = None  # which one was accepted
