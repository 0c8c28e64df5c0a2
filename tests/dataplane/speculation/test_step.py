"""The speculative step is lossless: whoever drafts, however long, the tokens are the target's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataplane.speculation.controller import Controller, _room
from dataplane.speculation.registry import Desired, DrafterSet
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import Mode, Plan, Proposal, SamplingParams, SequenceView, SpeculationPolicy
from spec_kernels.distribution import adjusted
from tests.fakes import FakeDrafter, FakeSequence, FakeTarget

VOCAB = 12


class RandomController(Controller):
    """Plans any source and any length, within the limits: the worst controller that is still correct."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def _draw(self, limit: int) -> int:
        return int(torch.randint(limit + 1, (), generator=self._generator))

    def plan(self, sequences, candidates):  # type: ignore[no-untyped-def]
        plans = []
        for sequence, candidate in zip(sequences, candidates, strict=True):
            sources = [*candidate.neural, "memory", "none"]
            plans.append(Plan(sources[self._draw(len(sources) - 1)], self._draw(_room(sequence)), True))
        return plans

    def cut(self, sequences, plans, proposals):  # type: ignore[no-untyped-def]
        super().cut(sequences, plans, proposals)
        return [one.cut(self._draw(len(one)), self._draw(len(one.alternatives))) for one in proposals]


def run(
    sequences: Sequence[FakeSequence], target: FakeTarget, drafters: DrafterSet, controller: Controller
) -> list[list[int]]:
    """Decode all sequences together to their ends; returns their outputs."""
    target.committed.clear()
    while running := [sequence for sequence in sequences if sequence.num_remaining > 0]:
        outcomes, _ = speculative_step(running, target, drafters, controller)
        for sequence, outcome in zip(running, outcomes, strict=True):
            assert len(outcome.proposal) <= sequence.speculation.max_lookahead
            assert outcome.new_tokens[: outcome.num_accepted] == outcome.proposal.tokens[: outcome.num_accepted]
            sequence.tokens += outcome.new_tokens
            assert sequence.num_remaining >= 0
            if sequence.num_remaining == 0:
                drafters.release(sequence)
    return [sequence.output for sequence in sequences]


def requests(sampling: SamplingParams, policy: SpeculationPolicy, count: int = 4) -> list[FakeSequence]:
    return [
        FakeSequence(
            [slot, 2 * slot % VOCAB, 1],
            slot,
            f"prj_{slot % 2}",
            "end_a",
            20 + slot,
            sampling=sampling,
            speculation=policy,
        )
        for slot in range(count)
    ]


def adapted(target: FakeTarget, folder: Path, seed: int = 0) -> DrafterSet:
    (folder / "delta").write_text("delta")
    drafters = DrafterSet(FakeDrafter(target, seed=seed), vocab_size=VOCAB)
    drafters.refresh({"end_a": Desired("prj_0", "ver_1", folder / "delta")})
    drafters.swap_if_ready()
    return drafters


@pytest.mark.parametrize("mode", ["static", "adaptive"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@given(seed=st.integers(0, 10_000), max_lookahead=st.integers(0, 15), remember=st.booleans())
@settings(max_examples=15, deadline=None)
def test_output_equals_plain_decoding_at_any_source_and_lookahead(
    mode: Mode,
    temperature: float,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    max_lookahead: int,
    remember: bool,
) -> None:
    target = FakeTarget(VOCAB, seed=seed % 7)
    sampling = SamplingParams(temperature=temperature, top_k=8, seed=seed, frequency_penalty=0.3)
    plain = requests(sampling, SpeculationPolicy("off"))
    expected = run(plain, target, DrafterSet(vocab_size=VOCAB), Controller())
    drafters = adapted(target, tmp_path_factory.mktemp("delta"), seed)
    speculative = requests(sampling, SpeculationPolicy(mode, max_lookahead, remember))
    assert run(speculative, target, drafters, RandomController(seed)) == expected
    assert drafters.errors == 0


@pytest.mark.parametrize("mode", ["off", "adaptive"])
def test_the_likeliest_token_is_that_of_the_logits_with_everything_that_a_request_adds(
    mode: Mode, tmp_path: Path
) -> None:
    target = FakeTarget(VOCAB, seed=2)
    kinds = (
        SamplingParams(),
        SamplingParams(logit_bias={3: 4.0, 5: -9.0}),
        SamplingParams(frequency_penalty=1.5),
        SamplingParams(presence_penalty=2.0, repetition_penalty=1.7),
    )
    sequences = requests(SamplingParams(), SpeculationPolicy(mode, 6))
    for sequence, sampling in zip(sequences, kinds, strict=True):
        sequence.sampling = sampling
    outputs = run(sequences, target, adapted(target, tmp_path), RandomController(4))
    for sequence, output in zip(sequences, outputs, strict=True):
        prompt = sequence.tokens[: sequence.num_prompt_tokens]
        for place, token in enumerate(output):
            row = target.logits([*prompt, *output[:place]])
            assert token == int(adjusted(row, sequence.sampling, Counter(output[:place]), prompt).argmax())
    assert len({tuple(output[:18]) for output in outputs}) == len(kinds)


@pytest.mark.parametrize("mode", ["off", "static", "adaptive"])
def test_the_real_controller_changes_speed_and_no_token(mode: Mode, tmp_path: Path) -> None:
    target = FakeTarget(VOCAB, seed=3)
    drafters, controller = adapted(target, tmp_path), Controller()
    for _ in range(8):
        sequences = requests(SamplingParams(), SpeculationPolicy(mode, 8, True))
        plain = run(
            requests(SamplingParams(), SpeculationPolicy("off")), target, DrafterSet(vocab_size=VOCAB), Controller()
        )
        assert run(sequences, target, drafters, controller) == plain


def test_a_version_swapped_in_mid_request_changes_no_token(tmp_path: Path) -> None:
    target = FakeTarget(VOCAB, seed=5)
    drafters, controller = DrafterSet(FakeDrafter(target), vocab_size=VOCAB), RandomController(1)
    (tmp_path / "delta").write_text("delta")
    (sequence,) = requests(SamplingParams(), SpeculationPolicy("adaptive", 4), 1)
    (expected,) = run(requests(SamplingParams(), SpeculationPolicy("off"), 1), target, drafters, controller)
    target.committed.clear()
    while sequence.num_remaining:
        if len(sequence.output) == 9:
            drafters.refresh({"end_a": Desired("prj_0", "ver_1", tmp_path / "delta")})
        drafters.swap_if_ready()
        ((outcome,), _) = speculative_step([sequence], target, drafters, controller)
        sequence.tokens += outcome.new_tokens
    assert sequence.output == expected


def test_a_drafter_that_raises_costs_its_request_the_drafts_and_nothing_else() -> None:
    target = FakeTarget(VOCAB)
    drafters = DrafterSet(FakeDrafter(target, fails=True), vocab_size=VOCAB)
    expected = run(requests(SamplingParams(), SpeculationPolicy("off"), 1), target, drafters, Controller())
    sequences = requests(SamplingParams(), SpeculationPolicy("static"), 1)
    assert run(sequences, target, drafters, RandomController(0)) == expected
    assert drafters.errors == 1


def test_log_probabilities_are_the_targets_own(tmp_path: Path) -> None:
    target = FakeTarget(VOCAB)
    (sequence,) = requests(SamplingParams(), SpeculationPolicy("adaptive", 8, True), 1)
    sequence.num_logprobs = 3
    drafters, controller = adapted(target, tmp_path), RandomController(3)
    while sequence.num_remaining:
        ((outcome,), _) = speculative_step([sequence], target, drafters, controller)
        for token, logprob, top in zip(outcome.new_tokens, outcome.logprobs, outcome.top_logprobs, strict=True):
            expected = torch.log_softmax(target.logits(sequence.tokens), dim=-1)
            assert logprob == pytest.approx(float(expected[token]), abs=1e-5)
            assert [one for one, _ in top] == expected.topk(3).indices.tolist()
            sequence.tokens.append(token)


# ------------------------------------------------------------------------------------------- in distribution


class SamplingDrafter(FakeDrafter):
    """Draws its tokens from a distribution of its own, and says so."""

    def propose(self, sequences, lookaheads, deltas, *, num_alternatives=0):  # type: ignore[no-untyped-def]
        proposals = []
        for lookahead in lookaheads:
            probs = torch.softmax(torch.linspace(-1, 1, VOCAB), dim=0).repeat(lookahead, 1)
            tokens = tuple(torch.multinomial(probs, 1, generator=self._random)[:, 0].tolist()) if lookahead else ()
            confidences = tuple(float(probs[index, token]) for index, token in enumerate(tokens))
            proposals.append(Proposal(tokens, confidences, ("static",) * lookahead, probs))
        return proposals


class PeekingController(Controller):
    """The planted mistake: drops a drafted token that was drawn at random after having looked at it."""

    def plan(self, sequences, candidates):  # type: ignore[no-untyped-def]
        return [Plan("static", 1)] * len(sequences)

    def cut(self, sequences, plans, proposals):  # type: ignore[no-untyped-def]
        super().cut(sequences, plans, proposals)
        return [proposal.cut(int(proposal.confidences[0] > 1 / VOCAB)) for proposal in proposals]


class OneTokenController(PeekingController):
    cut = Controller.cut


def first_tokens(
    controller: Controller, drafter: FakeDrafter, target: FakeTarget, *, count: int = 4_000
) -> Counter[int]:
    """How often each token comes first after the same prompt, over many seeds, in batches of 50."""
    drafters, found = DrafterSet(drafter, vocab_size=VOCAB), Counter[int]()
    policy = SpeculationPolicy("adaptive", 4, remember=True)
    for start in range(0, count, 50):
        sequences: list[SequenceView] = [
            FakeSequence(
                [3, 1], slot, max_tokens=4, sampling=SamplingParams(1.0, seed=start + slot), speculation=policy
            )
            for slot in range(50)
        ]
        target.committed.clear()
        outcomes, _ = speculative_step(sequences, target, drafters, controller)
        for sequence, outcome in zip(sequences, outcomes, strict=True):
            found[outcome.new_tokens[0]] += 1
            assert isinstance(sequence, FakeSequence)
            sequence.tokens += outcome.new_tokens
            drafters.release(sequence)
    return found


def fit(found: Counter[int], target: FakeTarget) -> tuple[float, float]:
    """(chi-square significance, total variation distance) between what was found and the target's distribution."""
    total = sum(found.values())
    probs = torch.softmax(target.logits([3, 1]).double(), dim=0).tolist()
    observed = [found[token] for token in range(VOCAB)]
    expected = [total * prob for prob in probs]
    distance = sum(abs(one - two) for one, two in zip(observed, expected, strict=True)) / (2 * total)
    scale = total / sum(expected)
    return float(stats.chisquare(observed, [scale * one for one in expected]).pvalue), distance


@pytest.mark.parametrize("drafter", [FakeDrafter, SamplingDrafter])
def test_sampled_tokens_have_the_targets_distribution_while_everything_learns(drafter: type[FakeDrafter]) -> None:
    target = FakeTarget(VOCAB, sharpness=1.0)
    controller = Controller() if drafter is FakeDrafter else OneTokenController()
    significance, distance = fit(first_tokens(controller, drafter(target), target), target)
    assert significance > 1e-3
    assert distance < 0.04


def test_the_planted_biased_rule_fails_the_same_test() -> None:
    target = FakeTarget(VOCAB, sharpness=1.0)
    significance, distance = fit(first_tokens(PeekingController(), SamplingDrafter(target), target), target)
    assert significance < 1e-9
    assert distance > 0.06
