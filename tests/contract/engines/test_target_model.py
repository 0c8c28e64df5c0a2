"""One suite for every `TargetModel` that can be called directly.

SGLang's is not among them: it needs SGLang's scheduler around it, within whose process alone it exists. What it scores
and commits is seen through its engine (`test_engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from dataplane.engines.embedded.target import EmbeddedTarget
from dataplane.models.llama import LlamaModel
from dataplane.speculation.types import Proposal, TargetModel
from tests.contract.engines.worlds import MAX_CONTEXT, PROMPTS
from tests.dataplane.models.test_native import need_native
from tests.fakes import FakeSequence, FakeTarget
from tests.tiny_llama import tiny_native

VOCABULARY = 100
Begin = Callable[[Sequence[int]], FakeSequence]


@pytest.fixture(params=("fake", "embedded", "kernels"))
def begun(request: pytest.FixtureRequest, target: Path) -> tuple[TargetModel, Begin]:
    """A target, and what starts a sequence whose tokens but the last are committed. "kernels": the CPU kernels'."""
    if request.param == "fake":
        slots = iter(range(16))
        return FakeTarget(VOCABULARY), lambda tokens: FakeSequence(list(tokens), slot=next(slots))
    model = need_native(tiny_native(vocab_size=VOCABULARY)) if request.param == "kernels" else LlamaModel.load(target)
    embedded = EmbeddedTarget(model, model.new_cache(num_slots=16, max_context=MAX_CONTEXT))

    def begin(tokens: Sequence[int]) -> FakeSequence:
        sequence = FakeSequence(list(tokens), slot=embedded.cache.allocate())
        if len(tokens) > 1:
            embedded.prefill(sequence.slot, tokens[:-1])
        return sequence

    return embedded, begin


def test_every_root_and_draft_token_has_a_row(begun: tuple[TargetModel, Begin]) -> None:
    target, begin = begun
    scores = target.score([begin(prompt) for prompt in PROMPTS[:3]], [Proposal(), Proposal((3,)), Proposal((4, 5, 6))])
    assert scores.offsets == (0, 1, 3, 7)
    assert scores.logits.shape[0] == scores.features.shape[0] == 7


def test_a_row_depends_on_its_own_sequence_alone(begun: tuple[TargetModel, Begin]) -> None:
    target, begin = begun
    proposals = [Proposal((3,)), Proposal(), Proposal((4, 5))]
    together = target.score([begin(prompt) for prompt in PROMPTS[:3]], proposals)
    for index, proposal in enumerate(proposals):
        alone = target.score([begin(PROMPTS[index])], [proposal])
        first, end = together.offsets[index : index + 2]
        assert torch.equal(together.logits[first:end], alone.logits)


@pytest.mark.parametrize("accepted", [0, 1, 2, 3])
def test_what_was_accepted_stays_and_what_was_rejected_leaves_no_trace(
    begun: tuple[TargetModel, Begin], accepted: int
) -> None:
    target, begin = begun
    sequence, draft, correction = begin(PROMPTS[0]), (20, 21, 22), 33
    target.score([sequence], [Proposal(draft)])
    target.commit([sequence], [accepted])
    sequence.tokens.extend((*draft[:accepted], correction))
    continued = target.score([sequence], [Proposal((8, 9))])
    fresh = target.score([begin(sequence.tokens)], [Proposal((8, 9))])
    torch.testing.assert_close(continued.logits, fresh.logits)


def test_a_draft_token_is_scored_as_if_it_had_been_committed(begun: tuple[TargetModel, Begin]) -> None:
    target, begin = begun
    drafted = target.score([begin(PROMPTS[1])], [Proposal((20, 21))])
    for row, context in enumerate((PROMPTS[1], (*PROMPTS[1], 20), (*PROMPTS[1], 20, 21))):
        torch.testing.assert_close(drafted.logits[row], target.score([begin(context)], [Proposal()]).logits[0])


@pytest.mark.parametrize("begun", ["embedded"], indirect=True)
def test_without_the_kernels_only_chains_are_scored(begun: tuple[TargetModel, Begin]) -> None:
    assert begun[0].max_alternatives == 0


@pytest.mark.parametrize("begun", ["fake", "kernels"], indirect=True)
def test_an_alternative_stands_where_the_first_draft_token_does(begun: tuple[TargetModel, Begin]) -> None:
    target, begin = begun
    others = tuple(range(30, 30 + target.max_alternatives))
    assert others
    scores = target.score([begin(PROMPTS[0]), begin(PROMPTS[1])], [Proposal((20, 21), alternatives=others), Proposal()])
    assert scores.offsets == (0, 3 + len(others), 4 + len(others))
    for row, token in enumerate(others, start=3):
        alone = target.score([begin((*PROMPTS[0], token))], [Proposal()])
        torch.testing.assert_close(scores.logits[row], alone.logits[0])
        torch.testing.assert_close(scores.features[row], alone.features[0])


@pytest.mark.parametrize("begun", ["fake", "kernels"], indirect=True)
def test_an_accepted_alternative_takes_its_place_in_the_sequence(begun: tuple[TargetModel, Begin]) -> None:
    target, begin = begun
    assert target.max_alternatives
    for chosen in range(target.max_alternatives):
        others = tuple(range(30, 30 + target.max_alternatives))
        sequence = begin(PROMPTS[0])
        target.score([sequence], [Proposal((20, 21), alternatives=others)])
        target.commit([sequence], [0], {0: chosen})
        sequence.tokens.extend((others[chosen], 33))
        continued = target.score([sequence], [Proposal((8, 9))])
        fresh = target.score([begin(sequence.tokens)], [Proposal((8, 9))])
        torch.testing.assert_close(continued.logits, fresh.logits)


def test_a_sequence_that_the_target_has_not_kept_up_with_is_refused(begun: tuple[TargetModel, Begin]) -> None:
    target, begin = begun
    sequence = begin(PROMPTS[2])
    target.score([sequence], [Proposal((20,))])
    sequence.tokens.append(20)  # without a commit
    with pytest.raises((AssertionError, RuntimeError)):
        target.score([sequence], [Proposal()])
