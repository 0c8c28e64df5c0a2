"""Sampled output has the target's distribution while everything learns: chi-square and total variation over pairs of
tokens, across temperature, top-k, top-p, min-p and penalties. A planted biased rule must fail the same test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import Plan, Proposal, SamplingParams, SpeculationPolicy
from spec_kernels import target_probs
from tests.fakes import FakeDrafter, FakeSequence, FakeTarget

VOCAB = 6
SAMPLES = 3_000
PROMPT = (3, 1)
CASES = [
    SamplingParams(1.0),
    SamplingParams(0.6),
    SamplingParams(1.5, top_k=3),
    SamplingParams(1.0, top_p=0.7),
    SamplingParams(1.0, min_p=0.15),
    SamplingParams(1.0, presence_penalty=0.8, frequency_penalty=0.4, logit_bias={1: 0.5}),
]


class DrawingDrafter(FakeDrafter):
    """Draws its tokens from a distribution of its own, and says so."""

    def propose(self, sequences: Any, lookaheads: Any, deltas: Any, **_: Any) -> list[Proposal]:
        proposals = []
        for lookahead in lookaheads:
            probs = torch.softmax(torch.linspace(-1, 1, VOCAB), dim=0).repeat(lookahead, 1)
            tokens = tuple(torch.multinomial(probs, 1, generator=self._random)[:, 0].tolist()) if lookahead else ()
            confidences = tuple(float(probs[index, token]) for index, token in enumerate(tokens))
            proposals.append(Proposal(tokens, confidences, ("static",) * lookahead, probs))
        return proposals


class Eager(Controller):
    """Always a draft of two tokens; the real controller learns along and its cut is used."""

    def plan(self, sequences: Any, candidates: Any) -> list[Plan]:
        super().plan(sequences, candidates)
        rooms = [min(2, one.num_remaining - 1) for one in sequences]
        return [Plan("static", room) if room > 0 else Plan() for room in rooms]


class Peeking(Eager):
    """The planted mistake: drops a drafted token that was drawn at random after having looked at it."""

    def cut(self, sequences: Any, plans: Any, proposals: Any) -> list[Proposal]:
        super().cut(sequences, plans, proposals)
        kept = []
        for proposal in proposals:
            unlikely = [index for index, value in enumerate(proposal.confidences) if value < 1 / VOCAB]
            kept.append(proposal.cut(unlikely[0] if unlikely else len(proposal)))
        return kept


def pairs(controller: Controller, drafter: FakeDrafter, target: FakeTarget, params: SamplingParams) -> np.ndarray:
    """Counts [V, V] of the first two tokens after the same prompt, over many seeds, in batches of 50; one project,
    whose memory and calibration learn from every request."""
    drafters, counts = DrafterSet(drafter, vocab_size=VOCAB), np.zeros((VOCAB, VOCAB))
    policy = SpeculationPolicy("adaptive", 4, remember=True)
    for start in range(0, SAMPLES, 50):
        sequences = [
            FakeSequence(list(PROMPT), slot, max_tokens=4, sampling=replace(params, seed=start + slot),
                         speculation=policy)
            for slot in range(50)
        ]  # fmt: skip
        target.committed.clear()
        while running := [one for one in sequences if len(one.output) < 2]:
            outcomes, _ = speculative_step(running, target, drafters, controller)
            for sequence, outcome in zip(running, outcomes, strict=True):
                sequence.tokens += outcome.new_tokens
        for sequence in sequences:
            counts[sequence.output[0], sequence.output[1]] += 1
            drafters.release(sequence)
    return counts


def expected(target: FakeTarget, params: SamplingParams) -> np.ndarray:
    """The exact probabilities [V, V] of the first two tokens."""
    first = target_probs(target.logits(PROMPT), params).numpy()
    rows = [target_probs(target.logits([*PROMPT, token]), params, Counter([token])).numpy() for token in range(VOCAB)]
    return first[:, None] * np.stack(rows)


def fit(counts: np.ndarray, probs: np.ndarray) -> tuple[float, float]:
    """(chi-square significance, total variation). Cells that are expected less than five times are put together."""
    assert counts[probs == 0].sum() == 0, "an excluded token was emitted"
    total, rare = counts.sum(), (probs * counts.sum() < 5)
    observed, wanted = [*counts[~rare], counts[rare].sum()], [*(total * probs[~rare]), total * probs[rare].sum()]
    if wanted[-1] < 1e-9:
        observed, wanted = observed[:-1], wanted[:-1]
    scale = sum(observed) / sum(wanted)
    significance = stats.chisquare(observed, [scale * value for value in wanted]).pvalue
    return float(significance), float(np.abs(counts / total - probs).sum() / 2)


@pytest.mark.parametrize("params", CASES, ids=str)
@pytest.mark.parametrize(
    ("controller", "drafter"), [(Controller, FakeDrafter), (Eager, FakeDrafter), (Eager, DrawingDrafter)]
)
def test_pairs_of_tokens_have_the_targets_distribution(
    params: SamplingParams, controller: type[Controller], drafter: type[FakeDrafter]
) -> None:
    target = FakeTarget(VOCAB, sharpness=1.0)
    significance, distance = fit(pairs(controller(), drafter(target), target, params), expected(target, params))
    assert significance > 1e-3
    assert distance < 0.06


def test_dropping_a_draft_after_looking_at_it_fails_the_same_test() -> None:
    target = FakeTarget(VOCAB, sharpness=1.0)
    counts = pairs(Peeking(), DrawingDrafter(target), target, CASES[0])
    significance, distance = fit(counts, expected(target, CASES[0]))
    assert significance < 1e-9
    assert distance > 0.06
