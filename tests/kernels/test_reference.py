"""Verification keeps the target's distribution, whatever is proposed."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from dataplane.speculation.types import SamplingParams as Params
from spec_kernels import Purpose, SamplingBatch, Verification, target_probs, uniform, verify_chains, verify_greedy
from spec_kernels.distribution import argmax_rows
from spec_kernels.randomness import philox


def verify_one(
    logits: torch.Tensor,
    drafts: Sequence[int],
    params: Params,
    *,
    position: int = 0,
    output: Sequence[int] = (),
    draft_probs: torch.Tensor | None = None,
) -> list[int]:
    result = verify_chains(
        logits, drafts, [0, len(logits)], [position], SamplingBatch.of([params], [output]), [draft_probs]
    )
    return result.emitted()[0]


def test_philox_gives_the_published_known_answers() -> None:
    # Random123 kat_vectors, philox4x32 10 rounds
    assert philox(0, (0, 0, 0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert philox((ones << 32) | ones, (ones,) * 4) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    assert philox((0x299F31D0 << 32) | 0xA4093822, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)) == (
        0xD16CFE09,
        0x94FDCCEB,
        0x5001E420,
        0x24126EA1,
    )


def test_draws_are_uniform_and_differ_by_seed_position_and_purpose() -> None:
    draws = [uniform(seed, position, purpose) for seed in range(20) for position in range(50) for purpose in Purpose]
    assert stats.kstest(draws, "uniform").pvalue > 0.01
    assert len(set(draws)) == len(draws)


def test_what_greedy_chains_emit_follows_from_the_argmax_alone() -> None:
    draw = random.Random(0)
    logits = torch.randint(0, 4, (8, 11), generator=torch.Generator().manual_seed(0)).float()  # with ties
    offsets, sampling = [0, 1, 4, 8], SamplingBatch.of([Params(temperature=0)] * 3)
    for _ in range(20):
        drafts = [draw.choice([int(logits[row].argmax()), draw.randrange(11)]) for row in (1, 2, 4, 5, 6)]
        expected = verify_chains(logits, drafts, offsets, [5, 6, 7], sampling).emitted()
        assert verify_greedy(argmax_rows(logits), drafts, offsets) == expected


def test_greedy_accepts_the_longest_prefix_that_equals_the_argmax() -> None:
    logits = torch.zeros(6, 10)
    for row, best in enumerate((3, 1, 4, 1, 5, 9)):
        logits[row, best] = 1
    result = verify_chains(logits, [3, 1, 0, 6], [0, 4, 6], [7, 7], SamplingBatch.of([Params()] * 2))
    assert result.num_accepted.tolist() == [2, 0]
    assert result.tokens.tolist() == [[3, 1, 4, -1], [5, -1, -1, -1]]
    assert result.emitted() == [[3, 1, 4], [5]]


def test_a_chain_without_drafts_emits_one_token() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    assert verify_one(logits, [], Params()) == [1]
    assert verify_one(logits, [], Params(temperature=1e-6)) == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shift", [0.0, -100.0])
def test_argmax_takes_the_lowest_of_equals(dtype: torch.dtype, shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randint(-20, 20, (9, 1271), generator=generator) + shift).to(dtype)
    expected = [row.index(max(row)) for row in logits.tolist()]
    assert argmax_rows(logits) == expected


def test_argmax_sees_negative_zero_as_zero() -> None:
    assert argmax_rows(torch.tensor([[-1.0, -0.0, 0.0]], dtype=torch.bfloat16)) == [1]


@pytest.mark.parametrize(
    "params",
    [
        Params(temperature=0.7),
        Params(temperature=1.3, top_k=5),
        Params(temperature=1.0, top_p=0.8),
        Params(temperature=1.0, min_p=0.1),
        Params(temperature=0.9, top_k=9, top_p=0.9, min_p=0.02, presence_penalty=0.5, frequency_penalty=0.3),
        Params(presence_penalty=1.5, frequency_penalty=0.7),
    ],
)
def test_a_seed_gives_the_same_output_at_any_lookahead(params: Params) -> None:
    """A toy target whose logits depend on the last token, decoded with random drafts of random lengths."""
    table = torch.randn(17, 17, generator=torch.Generator().manual_seed(1)) * 2

    def decode(lookahead: int) -> list[int]:
        rng, tokens = random.Random(lookahead), [0]
        while len(tokens) < 40:
            drafts = [rng.randrange(17) for _ in range(rng.randint(0, lookahead))]
            rows = table[[tokens[-1], *drafts]]
            tokens += verify_one(rows, drafts, params, position=len(tokens), output=tokens[1:])
        return tokens[:40]

    plain = decode(0)
    assert len(set(plain)) > 3
    assert all(decode(lookahead) == plain for lookahead in (1, 3, 8))


@pytest.mark.parametrize("batch_order", list(itertools.permutations(range(3))))
def test_a_sequence_is_verified_alike_in_any_batch(batch_order: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(2)
    params = [
        Params(),
        Params(temperature=1.0, top_p=0.9, seed=5),
        Params(temperature=0.8, seed=6),
    ]
    chains, rows = [[1, 2], [], [3]], [torch.randn(n, 31, generator=generator) for n in (3, 1, 2)]
    probs = [None, None, torch.softmax(torch.randn(1, 31, generator=generator), -1)]
    alone = [verify_one(rows[i], chains[i], params[i], position=9, draft_probs=probs[i]) for i in range(3)]
    offsets = [0, *itertools.accumulate(len(rows[i]) for i in batch_order)]
    together = verify_chains(
        torch.cat([rows[i] for i in batch_order]),
        [token for i in batch_order for token in chains[i]],
        offsets,
        [9, 9, 9],
        SamplingBatch.of([params[i] for i in batch_order]),
        [probs[i] for i in batch_order],
    ).emitted()
    assert together == [alone[i] for i in batch_order]


def test_filters_keep_exactly_what_they_promise() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()

    def kept(**options: float) -> list[int]:
        return target_probs(logits, Params(temperature=1.0, **options)).nonzero().squeeze(-1).tolist()  # type: ignore[arg-type]

    assert kept() == [0, 1, 2, 3]
    assert kept(top_k=2) == [0, 1]
    assert kept(top_k=99) == [0, 1, 2, 3]
    assert kept(top_p=0.65) == [0, 1]
    assert kept(top_p=0.75) == [0, 1, 2]
    assert kept(top_p=0.0) == [0]
    assert kept(top_k=2, top_p=0.5) == [0], "top-p acts on what top-k left: 0.4 of 0.7"
    assert kept(min_p=0.6) == [0, 1]
    assert kept(min_p=1.0) == [0]
    assert target_probs(logits, Params()).tolist() == [1, 0, 0, 0]
    assert target_probs(torch.zeros(4), Params(temperature=1.0, top_k=1)).tolist() == [0.25] * 4, "ties stay together"


def test_top_p_is_right_when_the_nucleus_is_wide() -> None:
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(3)) * 0.1
    probs = torch.softmax(logits, -1).double()
    kept = target_probs(logits, Params(temperature=1.0, top_p=0.9)) > 0
    assert float(probs[kept].sum()) == pytest.approx(0.9, abs=1e-3)
    assert float(probs[kept].min()) >= float(probs[~kept].max())


def test_penalties_count_output_and_the_drafts_before() -> None:
    logits = torch.tensor([[2.0, 1.9, 0.0]] * 4)
    penalised = Params(frequency_penalty=0.06)
    assert verify_one(logits, [0, 0, 0], Params()) == [0, 0, 0, 0]
    # the first 0 costs 0.06: 1.94 against 1.90; the second takes it to 1.88
    assert verify_one(logits, [0, 0, 0], penalised) == [0, 0, 1]
    assert verify_one(logits, [0, 0, 0], penalised, output=[0, 0]) == [1]
    assert verify_one(logits, [0, 1, 0], Params(presence_penalty=0.15)) == [0, 1, 0, 0]


def test_logit_bias_moves_the_choice_and_ignores_ids_outside_of_the_vocabulary() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    assert verify_one(logits, [], Params(logit_bias={2: 5.0, 99: 3.0})) == [2]
    assert verify_one(logits, [], Params(temperature=1.0, logit_bias={0: -100.0, 1: -100.0})) == [2]


def test_a_draft_outside_of_the_vocabulary_is_rejected() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]] * 2)
    for params in (Params(), Params(temperature=1.0, top_k=1)):
        assert verify_one(logits, [7], params) == [0]
        assert verify_one(logits, [-1], params, draft_probs=torch.tensor([[1.0, 0, 0]])) == [0]


def test_a_token_that_the_target_excludes_is_never_accepted() -> None:
    logits = torch.tensor([[5.0, 4.0, -9.0]] * 2)
    certain = torch.tensor([[0.0, 0.0, 1.0]])
    for seed in range(50):
        params = Params(temperature=1.0, top_k=2, seed=seed)
        assert verify_one(logits, [2], params, draft_probs=certain)[0] != 2


def test_statistics_describe_the_target() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]).log()
    result = verify_chains(logits, [0], [0, 2], [3], SamplingBatch.of([Params()]), with_logprobs=True, with_stats=True)
    assert result.tokens.tolist() == [[0, 2]]
    assert result.logprobs is not None
    assert result.logprobs.exp().tolist()[0] == pytest.approx([0.5, 0.6])
    assert result.margin is not None
    assert result.margin.tolist() == pytest.approx([0.2, 0.4])
    assert result.entropy is not None
    assert result.entropy.tolist() == pytest.approx([stats.entropy([0.5, 0.3, 0.2]), stats.entropy([0.2, 0.2, 0.6])])
    assert result.target_prob_of_draft is not None
    assert result.target_prob_of_draft.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("drafts", "offsets", "positions", "name"),
    [
        ([1], [0, 3], [0], "draft_tokens"),
        ([1, 1], [0, 2], [0], "offsets"),
        ([1, 1], [0, 3, 3], [0, 0], "offsets"),
        ([1, 1], [0, 3], [0, 1], "positions"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    drafts: list[int], offsets: list[int], positions: list[int], name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        verify_chains(torch.zeros(3, 5), drafts, offsets, positions, SamplingBatch.of([Params()]))


def test_an_empty_batch_is_an_empty_result() -> None:
    result = verify_chains(torch.zeros(0, 5), [], [0], [], SamplingBatch.of([]))
    assert isinstance(result, Verification)
    assert result.emitted() == []


# ------------------------------------------------------------------------------------------------------ distributions

CASES = [
    Params(temperature=1.0),
    Params(temperature=0.6),
    Params(temperature=1.5, top_k=3),
    Params(temperature=1.0, top_p=0.7),
    Params(temperature=1.0, min_p=0.15, presence_penalty=0.8, frequency_penalty=0.4, logit_bias={1: 0.5}),
]


def pairs_of_tokens(params: Params, draft_probs: torch.Tensor | None, samples: int, cheat: bool = False) -> np.ndarray:
    """Counts [V, V] of the first two tokens from a toy target, decoded with drafts that are often wrong.

    With `cheat`, the planted mistake: a sampled draft token is looked at, and dropped from the proposal if it is
    token 0.
    """
    table = toy_table()
    vocabulary, counts = table.shape[0], np.zeros((table.shape[0], table.shape[0]))
    for seed in range(samples):
        rng = np.random.default_rng(seed)
        tokens = [0]
        one = replace(params, seed=seed)
        while len(tokens) < 3:
            if draft_probs is None:
                drafts, probs = [int(rng.integers(vocabulary)) for _ in range(2)], None
            else:
                drafts = [int(rng.choice(vocabulary, p=draft_probs.numpy())) for _ in range(2)]
                if cheat:
                    drafts = list(itertools.takewhile(lambda token: token != 0, drafts))
                probs = draft_probs.expand(len(drafts), -1)
            rows = table[[tokens[-1], *drafts]]
            tokens += verify_one(rows, drafts, one, position=len(tokens), output=tokens[1:], draft_probs=probs)
        counts[tokens[1], tokens[2]] += 1
    return counts


def toy_table() -> torch.Tensor:
    return torch.randn(5, 5, generator=torch.Generator().manual_seed(4))


def expected_pairs(params: Params) -> np.ndarray:
    table, out = toy_table(), np.zeros((5, 5))
    first = target_probs(table[0], params).numpy()
    for token, prob in enumerate(first):
        out[token] = prob * target_probs(table[token], params, Counter([token])).numpy()
    return out


def chi_square_pvalue(counts: np.ndarray, probs: np.ndarray) -> float:
    assert counts[probs == 0].sum() == 0, "an excluded token was emitted"
    possible = probs > 0
    return float(stats.chisquare(counts[possible], probs[possible] / probs[possible].sum() * counts.sum()).pvalue)


def total_variation(counts: np.ndarray, probs: np.ndarray) -> float:
    return float(np.abs(counts / counts.sum() - probs).sum() / 2)


SAMPLES = 3000
DRAFT = torch.tensor([0.4, 0.1, 0.2, 0.2, 0.1])


@pytest.mark.parametrize("params", CASES)
@pytest.mark.parametrize("draft_probs", [None, DRAFT], ids=["deterministic", "sampled"])
def test_output_has_the_targets_distribution(params: Params, draft_probs: torch.Tensor | None) -> None:
    counts, probs = pairs_of_tokens(params, draft_probs, SAMPLES), expected_pairs(params)
    assert chi_square_pvalue(counts, probs) > 0.001
    assert total_variation(counts, probs) < 0.05


def test_dropping_a_draft_after_looking_at_it_is_caught() -> None:
    counts, probs = pairs_of_tokens(CASES[0], DRAFT, SAMPLES, cheat=True), expected_pairs(CASES[0])
    assert chi_square_pvalue(counts, probs) < 1e-6
