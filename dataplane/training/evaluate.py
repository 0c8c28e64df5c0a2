"""Held-out replay: regenerate answers from their prompts through the serving step, one arm after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dataplane.contracts import ArmReplay
from dataplane.engines.embedded.target import EmbeddedTarget
from dataplane.models.llama import LlamaModel
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.speculation.drafters.eagle import EagleDrafter
from dataplane.speculation.registry import Desired, DrafterSet
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import (
    Candidates,
    Plan,
    Proposal,
    SamplingParams,
    SequenceView,
    Source,
    SpeculationPolicy,
    StepOutcome,
    StepTiming,
)

LOOKAHEAD = 5  # of every step of every arm: what is compared is the drafters, not the controller
GROUP = 8  # records replayed at once
MAX_REPLAY_TOKENS = 128
PREFILL_TOKENS = 256


class FixedLookahead(Controller):
    """Always the same source and length."""

    def __init__(self, source: Source, lookahead: int = LOOKAHEAD) -> None:
        super().__init__()
        self._source, self._lookahead = source, lookahead

    def plan(self, sequences: Sequence[SequenceView], candidates: Sequence[Candidates]) -> list[Plan]:
        """One plan for all, shortened where a sequence is about to end."""
        return [Plan(self._source, max(0, min(self._lookahead, sequence.num_remaining - 1))) for sequence in sequences]

    def cut(
        self, sequences: Sequence[SequenceView], plans: Sequence[Plan], proposals: Sequence[Proposal]
    ) -> list[Proposal]:
        """Whole chains, nothing beside them."""
        return [proposal.cut(len(proposal)) for proposal in proposals]

    def observe(
        self,
        sequences: Sequence[SequenceView],
        candidates: Sequence[Candidates],
        outcomes: Sequence[StepOutcome],
        timing: StepTiming,
    ) -> None:
        """Nothing is learned."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to answer greedily, with at most `max_tokens` tokens."""

    prompt: tuple[int, ...]
    max_tokens: int


@dataclass(slots=True)
class ReplaySequence:
    """A request while it is replayed; satisfies `speculation.types.SequenceView`."""

    request: Request
    slot: int
    deployment_id: str
    project_id: str = "replay"
    tokens: list[int] = field(default_factory=list)
    num_steps: int = 0
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationPolicy = field(default_factory=lambda: SpeculationPolicy(max_lookahead=LOOKAHEAD))
    num_logprobs: int | None = None

    @property
    def memory_scope(self) -> str:
        return self.project_id

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.prompt)

    @property
    def output(self) -> list[int]:
        return self.tokens[self.num_prompt_tokens :]

    @property
    def num_remaining(self) -> int:
        return self.request.max_tokens - len(self.output)


@dataclass(frozen=True, slots=True)
class Replay:
    """Every arm's figures, and whether all arms emitted the same tokens."""

    arms: dict[str, ArmReplay]
    greedy_identical: bool


@dataclass(slots=True)
class _Tally:
    steps: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    outputs: list[list[int]] = field(default_factory=list)
    seconds: float = 0.0

    def arm(self) -> ArmReplay:
        lengths = [tokens / max(steps, 1) for tokens, steps in zip(self.tokens, self.steps, strict=True)]
        total = sum(self.tokens) / max(sum(self.steps), 1)
        return ArmReplay(sum(self.steps), sum(self.tokens), total, self.seconds, tuple(lengths))


def replay(
    model: LlamaModel,
    static_folder: Path,
    requests: Sequence[Request],
    deltas: Mapping[str, Path],
    *,
    deadline: float = float("inf"),
    min_requests: int = 4,
    group_size: int = GROUP,
    native: bool = True,
    report: Callable[[float], None] = lambda fraction: None,
    clock: Callable[[], float] = time.monotonic,
) -> Replay:
    """Replay `requests` with the static drafter ("static") and with every delta of `deltas` (arm name -> file).

    A prompt is prefilled once and shared by the arms. Beyond `deadline` (of `clock`), requests are left out as long as
    `min_requests` were replayed. `group_size` requests run at once. Not `native`: drafts are computed in PyTorch.
    Raises ArtifactError if a delta is refused.
    """
    context = max(len(request.prompt) + request.max_tokens for request in requests) + LOOKAHEAD + 1
    cache = model.new_cache(group_size, context)
    target = EmbeddedTarget(model, cache)
    drafter = EagleDrafter(
        load_checkpoint(static_folder),
        model.embedding,
        num_slots=group_size,
        max_context=cache.max_context,
        min_survival=0.0,
        native=native,
    )
    for path in deltas.values():
        drafter.load_delta(path)  # the registry only reports a refusal; here it is an error
    drafters = DrafterSet(drafter, vocab_size=model.config.vocab_size)
    drafters.refresh({name: Desired("replay", name, path) for name, path in deltas.items()})
    drafters.swap_if_ready()
    sources: dict[str, Source] = {"static": "static", **dict.fromkeys(deltas, "adaptive")}
    tallies = {name: _Tally() for name in sources}
    for first in range(0, len(requests), group_size):
        if first >= min_requests and clock() > deadline:
            break
        group = requests[first : first + group_size]
        prompts = [_prefill(target, request.prompt[:-1]) for request in group]
        for name, source in sources.items():
            _replay_group(target, drafters, group, prompts, name, FixedLookahead(source), tallies[name])
        report(min(1.0, (first + len(group)) / len(requests)))
    outputs = [tally.outputs for tally in tallies.values()]
    if drafters.errors:
        raise RuntimeError(f"a drafter failed {drafters.errors} times during the replay")
    return Replay({name: tally.arm() for name, tally in tallies.items()}, all(one == outputs[0] for one in outputs))


def _prefill(target: EmbeddedTarget, tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(cache block, features) of a prompt without its last token, which is the root of the first step."""
    slot = target.cache.allocate()
    features = [
        target.prefill(slot, tokens[start : start + PREFILL_TOKENS]) for start in range(0, len(tokens), PREFILL_TOKENS)
    ]
    block = target.cache.read(slot, 0, len(tokens))
    target.cache.free(slot)
    return block, torch.cat(features) if features else torch.empty(0)


def _replay_group(
    target: EmbeddedTarget,
    drafters: DrafterSet,
    requests: Sequence[Request],
    prompts: Sequence[tuple[torch.Tensor, torch.Tensor]],
    arm: str,
    controller: Controller,
    tally: _Tally,
) -> None:
    end_tokens = set(target.model.config.eos_token_ids)
    sequences = []
    for request, (block, features) in zip(requests, prompts, strict=True):
        slot = target.cache.allocate()
        target.cache.write(slot, 0, block)
        target.cache.commit(slot, block.shape[1])
        sequence = ReplaySequence(request, slot, arm, tokens=list(request.prompt))
        if len(features):
            drafters.extend(sequence, 0, request.prompt[1:], features)
        sequences.append(sequence)
    running = list(sequences)
    started = time.perf_counter()
    while running:
        outcomes, _ = speculative_step(running, target, drafters, controller)
        for sequence, outcome in zip(running, outcomes, strict=True):
            sequence.num_steps += 1
            for token in outcome.new_tokens[: sequence.num_remaining]:
                sequence.tokens.append(token)
                if token in end_tokens:
                    break
        running = [one for one in running if one.num_remaining > 0 and one.tokens[-1] not in end_tokens]
    tally.seconds += time.perf_counter() - started
    for sequence in sequences:
        drafters.release(sequence)
        target.cache.free(sequence.slot)
        tally.steps.append(sequence.num_steps)
        tally.tokens.append(len(sequence.output))
        tally.outputs.append(sequence.output)
