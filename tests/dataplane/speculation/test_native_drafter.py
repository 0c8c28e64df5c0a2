"""The drafter in the CPU kernels against the same weights in PyTorch, and its cache, batches and ends of chains."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from cpu_kernels.build import EMULATED, best_variant, build
from cpu_kernels.draft import Chain, DraftKernels, PackedDelta
from cpu_kernels.library import Library
from cpu_kernels.packing import rounded
from dataplane.speculation.drafters.checkpoint import EagleCheckpoint
from dataplane.speculation.drafters.delta import DELTA_MODULES, TenantDelta
from dataplane.speculation.drafters.eagle import EagleDrafter, rotary_table
from dataplane.speculation.drafters.native import draft_kernels, unsupported
from tests.dataplane.speculation.eagle_worlds import CONFIG, tiny_checkpoint, tiny_embeddings
from tests.fakes import FakeSequence

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")

WIDE = replace(CONFIG, hidden_size=64, intermediate_size=96, head_dim=16, target_vocab_size=211, draft_vocab_size=75)
RANDOM = tiny_checkpoint(dtype=torch.bfloat16, config=WIDE)
# Tame enough that rounding isn't amplified from draft to draft.
STATIC = replace(
    RANDOM,
    tensors={
        name: value / 3 if value.dim() == 2 and name != "lm_head.weight" else value
        for name, value in RANDOM.tensors.items()
    },
)
EMBEDDINGS = tiny_embeddings(dtype=torch.bfloat16, config=WIDE)
CONTEXT = 96
CHECKED = ("-fsanitize=undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all", "-O1")


@pytest.fixture(scope="module", params=["this processor's, checked", "AVX-512 BF16, emulated"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    variant = EMULATED if request.param == "AVX-512 BF16, emulated" else best_variant()
    extra = CHECKED if variant is not EMULATED else ()
    return Library(build(variant, tmp_path_factory.mktemp("libraries"), extra_flags=extra))


@pytest.fixture
def subject(library: Library) -> DraftKernels:
    cos, sin = rotary_table(CONTEXT, WIDE, torch.bfloat16)
    kernels = draft_kernels(STATIC, EMBEDDINGS, cos=cos, sin=sin, num_slots=4, library=library)
    assert kernels is not None
    return kernels


def rounded_static() -> EagleCheckpoint:
    """What the kernels compute with: all matrices but `fc` rounded to 8 bits."""
    tensors = {
        name: rounded(value.float()).double()
        if value.dim() == 2 and name != "fc.weight"
        else value.double()
        if value.is_floating_point()
        else value
        for name, value in STATIC.tensors.items()
    }
    return replace(STATIC, tensors=tensors)


def tokens_of(length: int, seed: int) -> list[int]:
    return torch.randint(WIDE.target_vocab_size, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def features_of(length: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, 3 * WIDE.hidden_size, generator=generator).bfloat16()


def low_rank(seed: int, rank: int, scale: float) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for module in DELTA_MODULES:
        out, inner = WIDE.shapes()[f"{module}.weight"]
        down, up = torch.randn(rank, inner, generator=generator), scale * torch.randn(out, rank, generator=generator)
        factors[module] = (down.bfloat16(), up.bfloat16())
    return factors


def packed(factors: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> PackedDelta:
    delta = TenantDelta(STATIC.sha256, len(factors["lm_head"][0]), factors).pack().packed
    assert delta is not None
    return delta


def commit(kernels: DraftKernels, slot: int, length: int, pieces: int = 1) -> Chain:
    """`length` committed positions whose contents the length decides; and a chain of 6 behind them."""
    tokens, features = tokens_of(length, length), features_of(length, length)
    for start, end in pairwise(length * piece // pieces for piece in range(pieces + 1)):
        kernels.extend(slot, start, tokens[start:end], features[start:end])
    return Chain(slot, length - 1, tokens[-1], 6, 1.3)


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("rank", [0, 3, 8], ids=["static", "rank 3", "rank 8"])
def test_drafts_are_those_of_pytorch_with_the_same_rounded_weights(subject: DraftKernels, rank: int) -> None:
    factors = low_rank(5, rank, 0.05) if rank else None
    wide = None if factors is None else {name: (down.double(), up.double()) for name, (down, up) in factors.items()}
    delta = None if wide is None else TenantDelta(STATIC.sha256, rank, wide)
    reference = EagleDrafter(rounded_static(), EMBEDDINGS.double(), num_slots=4, max_context=80, min_survival=0.0)
    right = total = 0
    for length in (1, 2, 7, 33, 75):
        sequence = FakeSequence([0, *tokens_of(length, length)], slot=1)
        reference.extend(sequence, 0, sequence.tokens[1:], features_of(length, length))
        (expected,) = reference.propose([sequence], [6], [delta])
        chain = replace(commit(subject, 1, length), temperature=1.0, delta=packed(factors) if factors else None)
        (drafted,) = subject.draft([chain], 0.0)
        tokens, confidences = drafted.tokens, drafted.confidences
        same = [mine == theirs for mine, theirs in zip(tokens, expected.tokens, strict=True)]
        end = same.index(False) if False in same else len(same)  # from a tie broken otherwise on, chains differ
        assert confidences[:end] == pytest.approx(expected.confidences[:end], abs=0.03)  # the cache is bf16
        right, total = right + end, total + len(same)
    assert right >= 0.9 * total


def test_a_batch_drafts_bit_for_bit_what_each_sequence_drafts_alone(subject: DraftKernels) -> None:
    deltas = [None, packed(low_rank(1, 4, 0.1)), None, packed(low_rank(2, 2, 0.1))]
    chains = [
        replace(commit(subject, slot, length), delta=delta, lookahead=lookahead)
        for slot, (length, delta, lookahead) in enumerate(zip((5, 17, 40, 9), deltas, (3, 6, 1, 5), strict=True))
    ]
    alone = [subject.draft([chain], 0.0)[0] for chain in chains]  # each reads what its own commits have left waiting
    for slot, length in enumerate((5, 17, 40, 9)):
        commit(subject, slot, length)
    together = subject.draft(chains, 0.0)
    assert together == alone
    assert [len(one.tokens) for one in together] == [3, 6, 1, 5]
    for threads in (1, 2):
        with threads_of(threads):
            assert [subject.draft([chain], 0.0)[0] for chain in chains] == together


def test_prefill_in_chunks_and_rejected_drafts_change_nothing(subject: DraftKernels) -> None:
    with threads_of(1):
        whole = commit(subject, 0, 70)
        expected = subject.draft([whole], 0.0)
    for threads in (1, 2):
        with threads_of(threads):
            chunked = commit(subject, 2, 70, pieces=5)
            assert subject.draft([chunked], 0.0) == expected
    shorter = commit(subject, 3, 20)
    first = subject.draft([shorter], 0.0)
    commit(subject, 3, 20)  # overwrites what was drafted
    assert subject.draft([shorter], 0.0) == first


def test_a_chain_ends_when_its_survival_falls_below_the_least(subject: DraftKernels) -> None:
    chain = commit(subject, 0, 12)
    (whole,) = subject.draft([chain], 0.0)
    tokens, confidences = whole.tokens, whole.confidences
    survival = torch.tensor(confidences).cumprod(0).tolist()
    (short,) = subject.draft([chain], (survival[2] + survival[1]) / 2)
    assert short.tokens == tokens[:3]
    assert set(tokens) <= set(STATIC.hot_tokens.tolist())


def test_further_candidates_for_the_first_place_come_by_their_probability(subject: DraftKernels) -> None:
    delta = packed(low_rank(1, 4, 0.1))
    chains = [replace(commit(subject, slot, 9 + slot), delta=one) for slot, one in enumerate((None, delta))]
    drafted = subject.draft(chains, 0.0, num_others=4)
    assert [one.tokens for one in drafted] == [one.tokens for one in subject.draft(chains, 0.0)]
    for chain, one in zip(chains, drafted, strict=True):
        first = [one.tokens[0], *one.others]
        chances = [one.confidences[0], *one.other_confidences]
        assert len(set(first)) == 5
        assert chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 1
        everything = subject.draft([chain], 0.0, num_others=10**6)[0]
        assert everything.others[:4] == one.others
        assert sorted([one.tokens[0], *everything.others]) == sorted(STATIC.hot_tokens.tolist())
        assert everything.confidences[0] + sum(everything.other_confidences) == pytest.approx(1, abs=1e-3)


def test_what_would_leave_the_cache_or_the_vocabulary_is_refused(subject: DraftKernels) -> None:
    for tokens, start in (([WIDE.target_vocab_size], 0), ([-1], 0), ([1], CONTEXT), ([1], -1)):
        with pytest.raises(IndexError):
            subject.extend(0, start, tokens, features_of(1, 0))
    with pytest.raises(ValueError):
        subject.extend(0, 0, [1], features_of(2, 0))
    with pytest.raises(IndexError, match="leave the cache"):
        subject.draft([Chain(0, CONTEXT - 2, 1, 3, 1.0)], 0.0)
    with pytest.raises(ValueError, match="rank"):
        PackedDelta({name: (torch.ones(65, 2), torch.ones(2, 65)) for name in ("gate", "up", "down", "head")})
    assert subject.draft([], 0.0) == []


def test_the_drafter_takes_the_kernels_where_they_fit_and_pytorch_elsewhere(tmp_path: Path) -> None:
    assert unsupported(WIDE, EMBEDDINGS) is None
    assert "head size" in str(unsupported(replace(WIDE, head_dim=8), EMBEDDINGS))
    assert "float64" in str(unsupported(WIDE, EMBEDDINGS.double()))
    assert "recurrent" in str(unsupported(replace(WIDE, design="recurrent"), EMBEDDINGS))
    sequence = FakeSequence(tokens_of(31, 3), slot=0)
    proposals = []
    for native in (True, False):
        drafter = EagleDrafter(STATIC, EMBEDDINGS, num_slots=1, max_context=64, min_survival=0.0, native=native)
        drafter.extend(sequence, 0, sequence.tokens[1:], features_of(30, 3))
        proposals.append(drafter.propose([sequence], [4])[0])
    native_one, eager = proposals
    assert native_one.sources == eager.sources == ("static",) * 4
    assert native_one.tokens[0] == eager.tokens[0]
    assert native_one.confidences[0] == pytest.approx(eager.confidences[0], rel=0.2)  # 8 bits against bf16


@pytest.mark.parametrize("native", [True, False])
def test_a_sibling_drafts_alike_and_knows_nothing_of_the_others_sequences(native: bool) -> None:
    first = EagleDrafter(STATIC, EMBEDDINGS, num_slots=1, max_context=64, min_survival=0.0, native=native)
    second = first.sibling(num_slots=2)
    one, other = FakeSequence(tokens_of(31, 3), slot=0), FakeSequence(tokens_of(12, 4), slot=0)
    first.extend(one, 0, one.tokens[1:], features_of(30, 3))
    expected = first.propose([one], [4])
    assert expected[0].tokens and not second.propose([one], [4])[0].tokens
    second.extend(other, 0, other.tokens[1:], features_of(11, 4))
    assert first.propose([one], [4]) == expected
    second.extend(one, 0, one.tokens[1:], features_of(30, 3))
    assert second.propose([one], [4]) == expected
