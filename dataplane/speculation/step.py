"""One speculative step, the same in every engine.

    candidates -> plan -> propose -> cut -> score -> verify -> commit -> observe

Lossless by construction: what the controller and the drafters choose depends on the context alone, every token of a
proposal that was not cut *before* the target's forward is verified, and what verification returns is what the target
would have emitted without any proposal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.types import Plan, Proposal, Scores, SequenceView, StepOutcome, StepTiming, TargetModel
from spec_kernels import SamplingBatch, emitted_tokens, has_penalty


def speculative_step(
    sequences: Sequence[SequenceView],
    target: TargetModel,
    drafters: DrafterSet,
    controller: Controller,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[StepOutcome], StepTiming]:
    """Emit at least one token for every sequence. The caller appends `new_tokens`; it may cut them at a stop token.

    Raises what `target` raises. A drafter that raises costs its request the speed-up, nothing else.
    """
    started = clock()
    candidates = drafters.candidates(sequences)
    plans = controller.plan(sequences, candidates)
    planned = clock()
    proposals = drafters.propose(sequences, plans, candidates, num_alternatives=target.max_alternatives)
    drafted = clock()
    proposals = controller.cut(sequences, plans, proposals)
    cut = clock()
    scores = target.score(sequences, proposals)
    scored = clock()
    emitted, chosen = verify(sequences, proposals, scores)
    verified = clock()
    accepted = [0 if index in chosen else len(tokens) - 1 for index, tokens in enumerate(emitted)]
    target.commit(sequences, accepted, chosen)
    committed = clock()
    rows: list[Sequence[int]] = [range(row, row + len(one)) for row, one in zip(scores.offsets, emitted, strict=False)]
    for index, alternative in chosen.items():
        rows[index] = (scores.offsets[index], scores.offsets[index] + 1 + len(proposals[index]) + alternative)
    for sequence, tokens, own in zip(sequences, emitted, rows, strict=True):
        drafters.extend(sequence, len(sequence.tokens) - 1, tokens, _pick(scores.features, own))
    extended = clock()
    outcomes = [
        describe(sequence, proposal, tokens, plan, scores, rows[index], accepted[index], chosen.get(index))
        for index, (sequence, proposal, tokens, plan) in enumerate(
            zip(sequences, proposals, emitted, plans, strict=True)
        )
    ]
    timing = StepTiming(
        plan=(planned - started) + (cut - drafted),
        draft=(drafted - planned) + (extended - committed),
        score=(scored - cut) + (committed - verified),
        verify=verified - scored,
    )
    observing = clock()
    controller.observe(sequences, candidates, outcomes, timing)
    observed = clock()
    return outcomes, StepTiming(timing.plan, timing.draft, timing.score, timing.verify, observed - observing)


def verify(
    sequences: Sequence[SequenceView], proposals: Sequence[Proposal], scores: Scores
) -> tuple[list[list[int]], dict[int, int]]:
    """What each sequence emits: accepted tokens, then the recovered or bonus token; and the accepted alternatives.

    An alternative is verified as an empty chain of its own, one position further: if the token that the target emits
    without looking at it is the alternative, what the target says after it is the next one.
    """
    chains: list[_Chain] = []
    offsets = [0]
    for index, (sequence, proposal) in enumerate(zip(sequences, proposals, strict=True)):
        chains.append(_Chain(index, None, len(sequence.tokens)))
        offsets.append(offsets[-1] + 1 + len(proposal))
        for place in range(len(proposal.alternatives)):
            chains.append(_Chain(index, place, len(sequence.tokens) + 1))
            offsets.append(offsets[-1] + 1)
    drafts = [token for proposal in proposals for token in proposal.tokens]
    outputs = prompts = None
    if any(has_penalty(one.sampling) for one in sequences):
        outputs = [_output(sequences[chain.place], proposals[chain.place], chain.alternative) for chain in chains]
        prompts = [sequences[chain.place].tokens[: sequences[chain.place].num_prompt_tokens] for chain in chains]
    probs = [proposals[chain.place].draft_probs if chain.alternative is None else None for chain in chains]
    verified = emitted_tokens(
        scores.logits,
        drafts,
        offsets,
        [chain.start for chain in chains],
        SamplingBatch.of([sequences[chain.place].sampling for chain in chains], outputs, prompts),
        None if all(one is None for one in probs) else probs,
        best=scores.best,
    )
    emitted: list[list[int]] = []
    chosen: dict[int, int] = {}
    for chain, tokens in zip(chains, verified, strict=True):
        if chain.alternative is None:
            emitted.append(tokens)
        elif len(emitted[-1]) == 1 and emitted[-1][0] == proposals[chain.place].alternatives[chain.alternative]:
            emitted[-1] = emitted[-1] + tokens
            chosen[chain.place] = chain.alternative
    return emitted, chosen


class _Chain(NamedTuple):
    place: int  # of its sequence in the batch
    alternative: int | None  # which alternative it follows; None: the proposal's own chain
    start: int  # position of the first token under test


def _output(sequence: SequenceView, proposal: Proposal, alternative: int | None) -> Sequence[int]:
    output = sequence.tokens[sequence.num_prompt_tokens :]
    return output if alternative is None else [*output, proposal.alternatives[alternative]]


def _pick(values: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:  # [R, n] -> [len(rows), n]
    if len(rows) == len(values):
        return values
    return values[rows.start : rows.stop] if isinstance(rows, range) else values[list(rows)]


def describe(
    sequence: SequenceView,
    proposal: Proposal,
    tokens: Sequence[int],
    plan: Plan,
    scores: Scores,
    rows: Sequence[int],
    num_accepted: int,
    alternative: int | None = None,
) -> StepOutcome:
    """The outcome of one sequence; `rows` said its tokens. Log-probabilities are those of the unmodified softmax."""
    new_tokens = tuple(tokens)
    if sequence.num_logprobs is None:
        return StepOutcome(proposal, num_accepted, new_tokens, plan=plan, alternative=alternative)
    logprobs = torch.log_softmax(_pick(scores.logits, rows).float(), dim=-1)  # [n, V]
    chosen = logprobs.gather(1, torch.tensor(new_tokens, device=logprobs.device)[:, None])[:, 0].tolist()
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    if sequence.num_logprobs:
        values, ids = logprobs.topk(min(sequence.num_logprobs, logprobs.shape[1]), dim=-1)
        top = tuple(
            tuple(zip(row_ids, row_values, strict=True))
            for row_ids, row_values in zip(ids.tolist(), values.tolist(), strict=True)
        )
    return StepOutcome(proposal, num_accepted, new_tokens, tuple(chosen), plan, top, alternative)
