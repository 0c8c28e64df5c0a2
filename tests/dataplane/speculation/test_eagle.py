"""The neural drafter at serving time: its cache, its sources, its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from dataplane.speculation.drafters.batched import BatchedDeltas
from dataplane.speculation.drafters.checkpoint import RECURRENT, EagleCheckpoint
from dataplane.speculation.drafters.delta import DELTA_MODULES, TenantDelta
from dataplane.speculation.drafters.eagle import DraftStateError, EagleDrafter
from dataplane.speculation.types import Proposal
from dataplane.training.unroll import Example, collate, draft_logits, unroll
from tests.dataplane.speculation.eagle_worlds import CONFIG, HOT, VOCABULARY, tiny_checkpoint, tiny_embeddings
from tests.fakes import FakeSequence

STATIC = tiny_checkpoint()
RECURRENT_STATIC = tiny_checkpoint(config=replace(CONFIG, design=RECURRENT))
EMBEDDINGS = tiny_embeddings()


def drafter(num_slots: int = 4, max_context: int = 64, static: EagleCheckpoint = STATIC) -> EagleDrafter:
    return EagleDrafter(static, EMBEDDINGS, num_slots=num_slots, max_context=max_context, min_survival=0.0)


def features_of(tokens: Sequence[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(VOCABULARY, 3 * CONFIG.hidden_size, generator=generator, dtype=torch.float64)
    return table[list(tokens)] + torch.arange(len(tokens), dtype=torch.float64)[:, None] * 0.01


def random_tokens(length: int, seed: int) -> list[int]:
    return torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def delta_of(seed: int, scale: float = 0.3, rank: int = 3) -> TenantDelta:
    generator = torch.Generator().manual_seed(seed)
    low_rank = {}
    for module in DELTA_MODULES:
        out, inner = CONFIG.shapes()[f"{module}.weight"]
        down = torch.randn(rank, inner, generator=generator, dtype=torch.float64)
        low_rank[module] = (down, scale * torch.randn(out, rank, generator=generator, dtype=torch.float64))
    return TenantDelta(STATIC.sha256, rank, low_rank)


def without_cache(
    tokens: Sequence[int], lookahead: int, delta: TenantDelta | None = None, static: EagleCheckpoint = STATIC
) -> Proposal:
    """The same chain from the training form of the drafter, which recomputes everything for each draft token."""
    drafts: list[int] = []
    confidences = []
    features = features_of(tokens)
    while len(drafts) < lookahead:
        ids = torch.tensor([*tokens, *drafts, 0])
        padding = features[-1:].expand(len(drafts) + 1, -1)  # rows that nobody looks at
        rows = torch.cat([features[:-1], padding])
        example = Example(ids, len(tokens) - 1, rows, rows[:, : CONFIG.hidden_size])
        batch = collate([example], len(drafts) + 1)
        outputs = unroll(static.tensors, static.config, EMBEDDINGS, batch, delta.low_rank if delta else None)
        logits = draft_logits(static.tensors, outputs[-1][0, :1], delta.low_rank if delta else None)
        confidence, best = logits.softmax(-1)[0].max(0)
        drafts.append(int(static.hot_tokens[best]))
        confidences.append(float(confidence))
    return Proposal(tuple(drafts), tuple(confidences))


def ready(subject: EagleDrafter, tokens: Sequence[int], slot: int = 0, pieces: int = 1) -> FakeSequence:
    """A sequence whose committed positions were extended in `pieces` chunks."""
    sequence = FakeSequence(list(tokens), slot=slot)
    features, end = features_of(tokens), len(tokens) - 1
    bounds = [end * piece // pieces for piece in range(pieces + 1)]
    for start, stop in pairwise(bounds):
        subject.extend(sequence, start, tokens[start + 1 : stop + 1], features[start:stop])
    return sequence


@pytest.mark.parametrize("static", [STATIC, RECURRENT_STATIC], ids=["EAGLE-3", "recurrent"])
@pytest.mark.parametrize("delta", [None, delta_of(5)], ids=["static", "adaptive"])
def test_drafts_are_those_of_the_training_form_which_has_no_cache(
    delta: TenantDelta | None, static: EagleCheckpoint
) -> None:
    for seed in range(4):
        tokens = random_tokens(7 + seed, seed)
        subject = drafter(static=static)
        sequence = ready(subject, tokens)
        (proposal,) = subject.propose([sequence], [5], [delta])
        expected = without_cache(tokens, 5, delta, static)
        assert proposal.tokens == expected.tokens
        assert proposal.confidences == pytest.approx(expected.confidences, rel=1e-5)  # softmax runs in float32
        assert set(proposal.sources) == {"adaptive" if delta else "static"}


def test_prefill_in_chunks_changes_nothing() -> None:
    tokens = random_tokens(23, 1)
    whole, chunked = drafter(), drafter()
    expected = whole.propose([ready(whole, tokens)], [6])
    assert chunked.propose([ready(chunked, tokens, pieces=4)], [6]) == expected


def test_rejected_drafts_leave_no_trace() -> None:
    tokens = random_tokens(30, 2)
    subject = drafter()
    sequence = ready(subject, tokens[:10])
    end = 10
    while end < 26:
        subject.propose([sequence], [8], [delta_of(1) if end % 2 else None])
        accepted = 1 + end % 3
        start = end - 1
        subject.extend(sequence, start, tokens[end : end + accepted], features_of(tokens)[start : start + accepted])
        end += accepted
        sequence.tokens[:] = tokens[:end]
    fresh = drafter()
    expected = without_cache(tokens[:end], 4)
    for one, view in ((subject, sequence), (fresh, ready(fresh, tokens[:end]))):
        (proposal,) = one.propose([view], [4])
        assert proposal.tokens == expected.tokens


def test_a_batch_drafts_what_each_sequence_drafts_alone() -> None:
    subject = drafter()
    lengths, lookaheads = [5, 17, 9, 12], [3, 6, 0, 1]
    deltas = [None, delta_of(1), None, delta_of(2)]
    sequences = [ready(subject, random_tokens(length, length), slot) for slot, length in enumerate(lengths)]
    together = subject.propose(sequences, lookaheads, deltas)
    for sequence, lookahead, delta, proposal in zip(sequences, lookaheads, deltas, together, strict=True):
        (alone,) = subject.propose([sequence], [lookahead], [delta])
        assert proposal.tokens == alone.tokens
        assert len(proposal) == lookahead
        assert proposal.confidences == pytest.approx(alone.confidences, rel=1e-5)


def test_a_zero_delta_drafts_as_the_static_drafter() -> None:
    subject = drafter()
    sequence = ready(subject, random_tokens(12, 3))
    static, adaptive = (subject.propose([sequence], [6], [delta])[0] for delta in (None, delta_of(1, scale=0.0)))
    assert adaptive.tokens == static.tokens
    assert adaptive.confidences == static.confidences


def test_a_chain_ends_when_its_survival_falls_below_the_floor() -> None:
    subject = drafter()
    sequence = ready(subject, random_tokens(12, 3))
    (whole,) = subject.propose([sequence], [8])
    survival = [float(torch.tensor(whole.confidences[: n + 1]).prod()) for n in range(8)]
    subject.min_survival = (survival[2] + survival[1]) / 2
    (short,) = subject.propose([sequence], [8])
    assert short.tokens == whole.tokens[:3]


def test_only_hot_tokens_are_drafted() -> None:
    subject = drafter()
    (proposal,) = subject.propose([ready(subject, random_tokens(9, 4))], [8])
    assert set(proposal.tokens) <= set(STATIC.hot_tokens.tolist())
    assert len(STATIC.hot_tokens) == HOT


def test_a_sequence_that_was_not_extended_gets_an_empty_proposal() -> None:
    subject = drafter()
    stale = ready(subject, random_tokens(9, 4))
    stale.tokens.append(3)  # a step in which this drafter was not told
    assert [len(p) for p in subject.propose([stale, FakeSequence([1, 2, 3], slot=2)], [4, 4])] == [0, 0]


def test_a_gap_or_an_overflow_is_an_error_and_forgets_the_slot() -> None:
    subject = drafter(max_context=16)
    sequence = ready(subject, random_tokens(9, 4))
    with pytest.raises(DraftStateError, match=r"positions 10\.\.11 after 8"):
        subject.extend(sequence, 10, [1], features_of([1]))
    assert len(subject.propose([sequence], [4])[0]) == 0
    with pytest.raises(DraftStateError, match="at most 16"):
        subject.extend(sequence, 0, list(range(17)), features_of(range(17)))


def test_a_released_slot_starts_anew() -> None:
    subject, fresh = drafter(), drafter()
    subject.release(ready(subject, random_tokens(20, 5)))
    tokens = random_tokens(8, 6)
    assert subject.propose([ready(subject, tokens)], [4]) == fresh.propose([ready(fresh, tokens)], [4])


def test_the_last_positions_of_the_context_can_still_draft() -> None:
    subject = drafter(max_context=16)
    (proposal,) = subject.propose([ready(subject, random_tokens(17, 7))], [16])
    assert len(proposal) == 16


def test_the_fused_path_of_accelerators_drafts_what_the_plain_one_drafts() -> None:
    """Rows with three deltas of two ranks and rows without one, in one batch; kernels run in Triton's interpreter."""
    fused = EagleDrafter(STATIC, tiny_embeddings(), num_slots=5, max_context=64, min_survival=0.0, fused=True)
    plain = EagleDrafter(STATIC, tiny_embeddings(), num_slots=5, max_context=64, min_survival=0.0)
    first, second = delta_of(1), delta_of(2, rank=7)
    deltas = [first, None, second, first, delta_of(3)]
    proposals = []
    for subject in (fused, plain):
        sequences = [ready(subject, random_tokens(6, seed), slot=seed) for seed in range(5)]
        proposals.append(subject.propose(sequences, [3, 2, 3, 1, 2], deltas))
    for one, other in zip(*proposals, strict=True):
        assert (one.tokens, one.sources) == (other.tokens, other.sources)
        assert one.confidences == pytest.approx(other.confidences, rel=1e-4)


def test_deltas_that_no_longer_draft_make_room_for_others() -> None:
    batched = BatchedDeltas(CONFIG, tiny_embeddings(), num_slots=2)
    deltas = [delta_of(seed) for seed in range(3)]
    assert batched.slots([deltas[0], None, deltas[1], deltas[0]]).tolist() == [1, -1, 0, 1]
    kept, fresh = batched.slots([deltas[1], deltas[2]]).tolist()
    assert (kept, fresh) == (0, 1)
    with pytest.raises(ValueError, match="3 deltas"):
        batched.slots(deltas)
