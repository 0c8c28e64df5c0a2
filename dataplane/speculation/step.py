"""One speculative step, the same in every engine.

    candidates -> plan -> propose -> cut -> score -> verify -> commit -> observe

Lossless by construction: what the controller and the drafters choose depends on the context alone, every token of a
proposal that was not cut *before* the target's forward is verified, and what verification returns is what the target
would have emitted without any proposal.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.types import (
    EMPTY_PROPOSAL,
    Plan,
    Proposal,
    Scores,
    SequenceView,
    StepOutcome,
    StepTiming,
    TargetModel,
)
from spec_kernels import SamplingBatch, has_penalty, is_greedy, verify_chains, verify_greedy


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
    batch = [
        _Chain(sequence, proposal, range(scores.offsets[index], scores.offsets[index] + 1 + len(proposal)))
        for index, (sequence, proposal) in enumerate(zip(sequences, proposals, strict=True))
    ]
    emitted = _emit(batch, scores)
    further: dict[int, _Chain] = {}
    chosen: dict[int, int] = {}
    for index, (proposal, tokens) in enumerate(zip(proposals, emitted, strict=True)):
        if len(tokens) == 1 and tokens[0] in proposal.alternatives:
            chosen[index] = proposal.alternatives.index(tokens[0])
            row = scores.offsets[index] + 1 + len(proposal) + chosen[index]
            further[index] = _Chain(sequences[index], EMPTY_PROPOSAL, range(row, row + 1), (tokens[0],))
    if further:
        for index, tokens in zip(further, _emit(list(further.values()), scores), strict=True):
            emitted[index] = emitted[index] + tokens
    return emitted, chosen


class _Chain(NamedTuple):
    sequence: SequenceView
    proposal: Proposal
    rows: range  # of the scores: the token before the chain, then its tokens
    before: tuple[int, ...] = ()  # what was emitted in this step already


def _emit(chains: Sequence[_Chain], scores: Scores) -> list[list[int]]:
    """Accepted tokens of each chain, then the recovered or bonus token."""
    rows = [row for chain in chains for row in chain.rows]
    drafts = [token for chain in chains for token in chain.proposal.tokens]
    offsets = [0, *itertools.accumulate(len(chain.rows) for chain in chains)]
    params = [chain.sequence.sampling for chain in chains]
    if scores.best is not None and all(is_greedy(one) for one in params):
        return verify_greedy([scores.best[row] for row in rows], drafts, offsets)
    outputs = prompts = None
    if any(has_penalty(one) for one in params):
        pairs = [(chain.sequence.tokens, chain.sequence.num_prompt_tokens) for chain in chains]
        outputs = [[*tokens[start:], *chain.before] for chain, (tokens, start) in zip(chains, pairs, strict=True)]
        prompts = [tokens[:start] for tokens, start in pairs]
    sampling = SamplingBatch.of(params, outputs, prompts)
    starts = [len(chain.sequence.tokens) + len(chain.before) for chain in chains]
    probs = [chain.proposal.draft_probs for chain in chains]
    drawn = None if all(one is None for one in probs) else probs
    return verify_chains(_pick(scores.logits, rows), drafts, offsets, starts, sampling, drawn).emitted()


def _pick(values: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:  # [R, n] -> [len(rows), n]
    if len(rows) == len(values):  # all of them: rows ascend
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
