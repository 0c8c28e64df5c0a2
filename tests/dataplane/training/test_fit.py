"""Static training: the loss and its gradient, the batches, the vocabulary, calibration."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dataplane.training.corpus import read_shard, shard_counts, shard_paths, write_shard
from dataplane.training.fit import (
    SoftCrossEntropy,
    acceptance_by_position,
    batches,
    calibrated_temperature,
    calibration_error,
    hot_vocabulary,
    initial_parameters,
    set_mean_gradients,
    shuffled_examples,
    unrolled_loss,
    vocabulary_coverage,
)
from dataplane.training.tables import TargetTables
from dataplane.training.unroll import Batch, Example, collate, unroll
from tests.dataplane.speculation.eagle_worlds import CONFIG, VOCABULARY, tiny_checkpoint, tiny_embeddings

EMBEDDINGS = tiny_embeddings()
TARGET = TargetTables(EMBEDDINGS, EMBEDDINGS, torch.ones(CONFIG.hidden_size, dtype=torch.float64))


def example(length: int, prompt: int, seed: int) -> Example:
    generator = torch.Generator().manual_seed(seed)
    return Example(
        torch.randint(VOCABULARY, (length,), generator=generator),
        prompt,
        torch.randn(length - 1, 3 * CONFIG.hidden_size, generator=generator, dtype=torch.float64),
        torch.randn(length - 1, CONFIG.hidden_size, generator=generator, dtype=torch.float64),
    )


def test_the_blocked_loss_has_the_value_and_the_gradient_of_the_plain_one() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(150, 13, generator=generator, dtype=torch.float32, requires_grad=True)
    wanted = torch.randn(40, 13, generator=generator).softmax(-1)
    rows = torch.randint(40, (150,), generator=generator)
    loss = SoftCrossEntropy.apply(logits, wanted, rows)
    loss.backward()
    gradient, logits.grad = logits.grad, None
    plain = -(wanted[rows] * logits.log_softmax(-1)).sum()
    plain.backward()
    torch.testing.assert_close(loss, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, logits.grad, rtol=1e-5, atol=1e-6)


def test_anchors_are_where_answers_are_drafted_and_their_targets_exist() -> None:
    batch = collate([example(12, 5, 0), example(6, 5, 1), example(9, 1, 2)], num_steps=3)
    # feature rows 0..10, drafting from the last prompt position on; row t + 1 + j must exist for step j at anchor t
    assert batch.anchors[0, :6].tolist() == [4, 5, 6, 7, 8, 9]
    assert batch.valid[0].sum(0).tolist() == [6, 5, 4]
    assert batch.valid[1].sum().item() == 0  # one answer token: nothing can be drafted after it
    assert batch.valid[2].sum(0).tolist() == [7, 6, 5]


def test_nothing_is_drafted_from_over_or_into_what_was_masked() -> None:
    """Tokens 6 and 7 of 12 are masked: an anchor t counts at step j only if tokens t .. t + 2 + j are all real."""
    masked = replace(example(12, 1, 0), masked=((6, 8),))
    plain, batch = collate([example(12, 1, 0)], num_steps=3), collate([masked], num_steps=3)
    for anchor in range(batch.anchors.shape[1]):
        for step in range(3):
            is_clean = not {6, 7} & set(range(anchor, anchor + 3 + step))
            assert bool(batch.valid[0, anchor, step]) == (bool(plain.valid[0, anchor, step]) and is_clean)
    assert batch.valid.any() and plain.valid.sum() > batch.valid.sum()


def test_an_answer_that_is_all_masked_trains_nothing_and_breaks_nothing() -> None:
    hot = tiny_checkpoint().hot_tokens
    batch = collate([replace(example(9, 2, 0), masked=((0, 9),))], num_steps=3)
    assert not batch.valid.any()
    parameters = {name: value.double() for name, value in initial_parameters(CONFIG, TARGET, hot, 0).items()}
    loss = unrolled_loss(parameters, CONFIG, TARGET, EMBEDDINGS[hot], batch)
    assert float(loss) == 0.0


def test_padding_beside_a_sequence_changes_nothing() -> None:
    checkpoint = tiny_checkpoint()
    short, long = example(9, 4, 0), example(21, 3, 1)
    together = unroll(checkpoint.tensors, CONFIG, EMBEDDINGS, collate([long, short], 3))
    alone = unroll(checkpoint.tensors, CONFIG, EMBEDDINGS, collate([short], 3))
    for step in range(3):
        width = alone[step].shape[1] - step
        torch.testing.assert_close(together[step][1, :width], alone[step][0, :width])


def test_a_few_steps_of_descent_lower_the_loss() -> None:
    checkpoint = tiny_checkpoint()
    hot = checkpoint.hot_tokens
    parameters = {
        name: value.double().requires_grad_() for name, value in initial_parameters(CONFIG, TARGET, hot, 0).items()
    }
    batch = collate([example(16, 4, seed) for seed in range(3)], 3)
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.01)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = unrolled_loss(parameters, CONFIG, TARGET, EMBEDDINGS[hot], batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_batches_in_threads_of_their_own_make_the_mean_of_their_gradients() -> None:
    hot = tiny_checkpoint().hot_tokens
    initial = initial_parameters(CONFIG, TARGET, hot, 0)
    parameters = {name: value.double().requires_grad_() for name, value in initial.items()}
    several = [collate([example(16 + 3 * seed, 4, seed)], 3) for seed in range(3)]

    def loss_of(batch: Batch) -> torch.Tensor:
        return unrolled_loss(parameters, CONFIG, TARGET, EMBEDDINGS[hot], batch)

    losses = [loss_of(batch) for batch in several]
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(parameters.values()))
    with ThreadPoolExecutor(2) as pool:
        mean = set_mean_gradients(list(parameters.values()), loss_of, several, pool)
    assert mean == pytest.approx(float(torch.stack(losses).detach().mean()))
    for parameter, gradient in zip(parameters.values(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
        assert gradient.any()


def test_every_usable_example_is_in_exactly_one_batch() -> None:
    examples = [example(length, 3, length) for length in range(4, 40)]
    found = sum(len(batch.num_rows) for batch in batches(examples, 64, random.Random(0), 2))
    assert found == 35  # the shortest has one answer token


def test_acceptance_falls_with_the_position() -> None:
    checkpoint = tiny_checkpoint()
    examples = [example(30, 3, seed) for seed in range(4)]
    shares, evidence = acceptance_by_position(
        checkpoint.tensors, CONFIG, TARGET, checkpoint.hot_tokens, examples, num_steps=4
    )
    assert shares == sorted(shares, reverse=True)
    assert all(len(logits) == len(right) for logits, right in evidence)


@pytest.mark.parametrize("true_temperature", [0.6, 1.0, 1.8])
def test_calibration_finds_the_temperature_that_made_the_drafts_right(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6000, 8, generator=generator)
    confidence = (logits / true_temperature).softmax(-1).amax(-1)
    right = torch.rand(6000, generator=generator) < confidence
    assert calibrated_temperature([(logits, right)]) == pytest.approx(true_temperature, abs=0.15)


def test_the_calibration_error_is_how_far_confidences_are_from_what_happens() -> None:
    logits = torch.tensor([[0.0, 0.0]]).repeat(100, 1)  # always sure by one half
    right = torch.arange(100) < 80
    assert calibration_error([(logits, right)], 1.0) == pytest.approx(0.3)
    assert calibration_error([(logits, torch.arange(100) < 50)], 1.0) == pytest.approx(0.0)


def test_shards_survive_the_round_trip_and_the_vocabulary_covers_what_was_generated(tmp_path: Path) -> None:
    examples = [example(10, 4, 0), example(7, 2, 1)]
    write_shard(tmp_path / "part0-0000.safetensors", examples, num_prompts=5)
    (tmp_path / "part0-0001.partial").write_bytes(b"torn")
    assert shard_counts(shard_paths(tmp_path)) == {"prompts": 5, "generated": 11, "sequences": 2}
    for read, written in zip(read_shard(shard_paths(tmp_path)[0]), examples, strict=True):
        assert torch.equal(read.tokens, written.tokens)
        assert torch.equal(read.features, written.features)
        assert torch.equal(read.finals, written.finals)
    generated = {int(token) for one in examples for token in one.tokens[one.num_prompt_tokens :]}
    other = min(set(range(VOCABULARY)) - generated)
    hot, coverage = hot_vocabulary(tmp_path, [[other] * 3], len(generated) + 1, VOCABULARY)
    assert (set(hot.tolist()), coverage) == (generated | {other}, 1.0)
    assert hot_vocabulary(tmp_path, [], 2, VOCABULARY)[1] < 1.0
    assert vocabulary_coverage(tmp_path, [hot, torch.tensor([other])]) == [1.0, 0.0]


def test_a_round_sees_every_shard_once_those_too_that_appear_meanwhile_and_none_held_out(tmp_path: Path) -> None:
    def write(number: int) -> None:
        write_shard(tmp_path / f"part0-{number:04d}.safetensors", [example(10 + number, 9, number)], num_prompts=1)

    def numbers(examples: list[Example]) -> list[int]:
        return [len(one.tokens) - 10 for one in examples]

    for number in range(6):
        write(number)
    stream = shuffled_examples(tmp_path, ["part0-0000.safetensors"], random.Random(0))
    first = numbers(next(stream))
    write(6)
    assert len(first) == 4 and sorted(first + numbers(next(stream))) == [1, 2, 3, 4, 5, 6]
    second_round = numbers(next(stream)) + numbers(next(stream))
    assert sorted(second_round) == [1, 2, 3, 4, 5, 6]
