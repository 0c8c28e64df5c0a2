"""The Triton kernels emit what the reference emits."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dataplane.speculation.types import SamplingParams as Params
from spec_kernels import SamplingBatch, reference, verification

FILTERS = [
    {},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 100_000},
    {"top_p": 0.9},
    {"top_p": 0.3},
    {"top_p": 0.0},
    {"min_p": 0.05},
    {"min_p": 1.0},
    {"top_k": 50, "top_p": 0.8, "min_p": 0.01},
    {"presence_penalty": 0.7, "frequency_penalty": -0.4, "logit_bias": {3: 4.0, 10**6: 1.0}},
]


def compare(
    logits: torch.Tensor,
    chains: list[list[int]],
    params: list[Params],
    draft_probs: list[torch.Tensor | None] | None = None,
    block: int = 512,
) -> list[list[int]]:
    offsets = [0, *itertools.accumulate(len(chain) + 1 for chain in chains)]
    arguments = (
        logits,
        torch.tensor([token for chain in chains for token in chain], dtype=torch.int64),
        offsets,
        [3 + 2**33 * index for index in range(len(chains))],
        SamplingBatch.of(params, [[1, 3, 3]] * len(chains)),
        draft_probs,
    )
    expected = reference.verify_chains(*arguments, with_logprobs=True, with_stats=True)
    actual = verification.verify_chains(*arguments, with_logprobs=True, with_stats=True, block=block)
    assert actual.emitted() == expected.emitted()
    assert torch.equal(actual.num_accepted, expected.num_accepted)
    assert torch.equal(actual.tokens, expected.tokens)
    for name in ("logprobs", "target_prob_of_draft", "entropy", "margin"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name))
    return actual.emitted()


def likely_chains(logits: torch.Tensor, lengths: list[int], rng: random.Random) -> list[list[int]]:
    """Drafts that are mostly the argmax, so that chains are accepted in part."""
    best, row, chains = logits.argmax(-1).tolist(), 0, []
    for length in lengths:
        chains.append([best[row + i] if rng.random() < 0.8 else rng.randrange(logits.shape[1]) for i in range(length)])
        row += length + 1
    return chains


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("vocabulary", [1, 2, 401, 1271, 2048])
def test_greedy_verification_equals_the_reference(dtype: torch.dtype, vocabulary: int) -> None:
    rng = random.Random(vocabulary)
    lengths = [4, 0, 2, 7]
    logits = torch.randn(sum(lengths) + 4, vocabulary, generator=torch.Generator().manual_seed(vocabulary)).to(dtype)
    compare(logits, likely_chains(logits, lengths, rng), [Params()] * 4)


def test_greedy_verification_takes_the_lowest_of_equals_across_blocks() -> None:
    logits = torch.full((2, 1271), -1.0)
    logits[0, [300, 700, 1270]] = 2.0
    assert compare(logits, [[300]], [Params()], block=256) == [[300, 0]]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize(("dtype", "vocabulary"), [(torch.bfloat16, 401), (torch.float32, 41)])
def test_sampled_verification_equals_the_reference(
    filters: dict[str, float], dtype: torch.dtype, vocabulary: int
) -> None:
    rng = random.Random(vocabulary)
    lengths = [2, 0, 1]
    generator = torch.Generator().manual_seed(vocabulary)
    logits = (torch.randn(sum(lengths) + 3, vocabulary, generator=generator) * 3).to(dtype)
    chains = likely_chains(logits, lengths, rng)
    seed = -7 if dtype is torch.bfloat16 else 2**63 + 11
    params = [Params(temperature=t, seed=seed, **filters) for t in (0.7, 1.6, 0.0)]  # type: ignore[arg-type]
    compare(logits, chains, params)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_sampled_verification_in_many_blocks_equals_the_reference(dtype: torch.dtype) -> None:
    logits = (torch.randn(2, 1271, generator=torch.Generator().manual_seed(5)) * 3).to(dtype)
    compare(logits, [[int(logits[0].argmax())]], [Params(temperature=1.2, top_k=300, top_p=0.7)], block=256)


@pytest.mark.parametrize("filters", [{}, FILTERS[-1]], ids=str)
def test_verification_of_sampled_proposals_equals_the_reference(filters: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(11, 101, generator=generator) * 3
    emitted = []
    for seed in range(4):
        target = torch.softmax(logits, -1)
        noise = torch.softmax(torch.randn(11, 101, generator=generator) * 3, -1)
        probs = (0.6 * target + 0.4 * noise).float()
        drafts = torch.multinomial(probs, 1, generator=generator).squeeze(-1).tolist()
        params = [Params(temperature=t, seed=seed, **filters) for t in (1.0, 0.8, 0.0)]  # type: ignore[arg-type]
        emitted += compare(
            logits,
            [drafts[0:4], drafts[5:8], drafts[9:10]],
            params,
            [probs[0:4], None if seed % 2 else probs[5:8], probs[9:10]],
        )
    assert len({len(tokens) for tokens in emitted}) > 1, "accepted and rejected drafts are both covered"


def test_a_draft_that_equals_the_target_up_to_rounding_still_gives_a_token() -> None:
    logits = torch.tensor([[0.0, 0.0, -1e9]] * 2)
    probs = torch.tensor([[0.5, 0.5, 0.0]])
    for seed in range(8):
        compare(logits, [[2]], [Params(temperature=1.0, seed=seed)], [probs])


def test_minus_infinity_and_negative_zero_are_ordinary_logits() -> None:
    logits = torch.tensor([[-0.0, 0.0, float("-inf"), -5.0]] * 3)
    for filters in ({}, {"top_k": 1}, {"top_k": 3}, {"top_p": 0.4}):
        for seed in range(2):
            compare(logits, [[0, 1]], [Params(temperature=1.0, seed=seed, **filters)])  # type: ignore[arg-type]


def test_inputs_are_left_untouched() -> None:
    logits = torch.randn(3, 41)
    before = logits.clone()
    compare(logits, [[1, 2]], [Params(temperature=1.0, presence_penalty=1.0, logit_bias={0: 1.0})])
    assert torch.equal(logits, before)


@pytest.mark.parametrize("capability", ["90", "100"])
def test_the_kernels_compile_without_a_gpu_read_in_vectors_and_spill_nothing(capability: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run(
        [sys.executable, str(script), capability], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert {report["target"] for report in reports} == {f"sm_{capability}a"}
    names = {"scan_kernel", "decide_kernel", "walk_kernel", "shrink_kernel", "expand_kernel", "choose_kernel"}
    assert {report["kernel"] for report in reports} == names
    assert not [report for report in reports if report["spilled"]]
    least = {"expand_kernel": 8}  # a row of B is as long as the rank, which only the launch knows
    reading = [report for report in reports if not report["variant"].startswith("few, ")]
    assert not [report for report in reading if report["load"] < least.get(report["kernel"], 16)]
