"""One speculative step, the same in every engine.

    candidates -> plan -> propose -> cut -> score -> verify -> commit -> observe

Lossless by construction: what the controller and the drafters choose depends on the context alone, every token of a
proposal that was not cut *before* the target's forward is verified, and what verification returns is what the target
would have emitted without any proposal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.types import Plan, Proposal, Scores, SequenceView, StepOutcome, StepTiming, TargetModel
from spec_kernels import SamplingBatch, has_penalty, verify_chains


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
    proposals = drafters.propose(sequences, plans, candidates)
    drafted = clock()
    lengths = controller.cut(sequences, plans, proposals)
    proposals = [proposal.cut(length) for proposal, length in zip(proposals, lengths, strict=True)]
    cut = clock()
    scores = target.score(sequences, proposals)
    scored = clock()
    emitted = verify(sequences, proposals, scores)
    verified = clock()
    target.commit(sequences, [len(tokens) - 1 for tokens in emitted])
    committed = clock()
    for index, (sequence, tokens) in enumerate(zip(sequences, emitted, strict=True)):
        row = scores.offsets[index]
        features = scores.features[row : row + len(tokens)]
        drafters.extend(sequence, len(sequence.tokens) - 1, tokens, features)
    extended = clock()
    outcomes = [
        describe(sequence, proposal, tokens, plan, scores, scores.offsets[index])
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


def verify(sequences: Sequence[SequenceView], proposals: Sequence[Proposal], scores: Scores) -> list[list[int]]:
    """What each sequence emits: accepted tokens, then the recovered or bonus token."""
    outputs = prompts = None
    if any(has_penalty(one.sampling) for one in sequences):
        outputs = [one.tokens[one.num_prompt_tokens :] for one in sequences]
        prompts = [one.tokens[: one.num_prompt_tokens] for one in sequences]
    verification = verify_chains(
        scores.logits,
        [token for proposal in proposals for token in proposal.tokens],
        scores.offsets,
        [len(one.tokens) for one in sequences],
        SamplingBatch.of([one.sampling for one in sequences], outputs, prompts),
        None if all(one.draft_probs is None for one in proposals) else [one.draft_probs for one in proposals],
    )
    return verification.emitted()


def describe(
    sequence: SequenceView, proposal: Proposal, tokens: Sequence[int], plan: Plan, scores: Scores, row: int
) -> StepOutcome:
    """The outcome of one sequence, whose root was scored in `row`; log-probabilities of the unmodified softmax."""
    new_tokens, num_accepted = tuple(tokens), len(tokens) - 1
    if sequence.num_logprobs is None:
        return StepOutcome(proposal, num_accepted, new_tokens, plan=plan)
    logprobs = torch.log_softmax(scores.logits[row : row + len(tokens)].float(), dim=-1)  # [n, V]
    chosen = logprobs.gather(1, torch.tensor(new_tokens, device=logprobs.device)[:, None])[:, 0].tolist()
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    if sequence.num_logprobs:
        values, ids = logprobs.topk(min(sequence.num_logprobs, logprobs.shape[1]), dim=-1)
        top = tuple(
            tuple(zip(row_ids, row_values, strict=True))
            for row_ids, row_values in zip(ids.tolist(), values.tolist(), strict=True)
        )
    return StepOutcome(proposal, num_accepted, new_tokens, tuple(chosen), plan, top)
