"""The static drafter's training text: the target answers broad prompts, and its features are kept with the answers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dataplane.models.generate import Completion, generate_batch, score_tokens
from dataplane.models.llama import LlamaModel
from dataplane.models.tokenizer import Tokenizer
from dataplane.training.corpus import GENERATED, GIVEN, shard_counts, shard_paths, write_shard
from dataplane.training.prompts import Prompt
from dataplane.training.unroll import Example

PROMPTS_PER_SHARD = 128
MAX_PROMPT_TOKENS = 1000
MAX_NEW_TOKENS = 224
GREEDY_SHARE = 0.7  # the other answers are sampled at SAMPLED_TEMPERATURE
SAMPLED_TEMPERATURE = 0.8
MAX_GIVEN_TOKENS, MIN_GIVEN_TOKENS = 256, 8
GIVEN_TEMPERATURE = 1.0  # what such text counts as: not greedy
FOLLOW_UP_SHARE = 0.3  # of the conversations that have a second user turn


def generate_shards(
    model: LlamaModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    out: Path,
    *,
    num_tokens: int,
    num_slots: int = 64,
    seed: int = 0,
) -> None:
    """Write shards into `out` until they hold `num_tokens` generated tokens or the prompts are used up.

    Shards that are there already count, and their prompts are skipped: an interrupted run goes on where it was.
    """
    out.mkdir(parents=True, exist_ok=True)
    counts = shard_counts(shard_paths(out, GENERATED))
    used, generated = counts["prompts"], counts["generated"]
    started, before = time.monotonic(), generated
    while generated < num_tokens and used < len(prompts):
        number = len(shard_paths(out, GENERATED))
        chunk = prompts[used : used + PROMPTS_PER_SHARD]
        examples = _answer(model, tokenizer, chunk, num_slots, random.Random(f"{seed}/{number}"))
        used += len(chunk)
        if not examples:
            continue
        write_shard(out / f"{GENERATED}{number:04d}.safetensors", examples, len(chunk))
        generated += sum(len(example.tokens) - example.num_prompt_tokens for example in examples)
        rate = (generated - before) / (time.monotonic() - started)
        minutes = max(num_tokens - generated, 0) / rate / 60
        print(f"{generated} of {num_tokens} tokens, {rate:.0f}/s, {minutes:.0f} minutes left", flush=True)


def score_shards(
    model: LlamaModel,
    tokenizer: Tokenizer,
    exchanges: Sequence[tuple[str, str]],  # (prompt, answer)
    out: Path,
    *,
    num_tokens: int,
) -> None:
    """Write shards of given answers, scored by the target instead of written by it: many times faster per token.

    Resumes as `generate_shards` does. Answers are cut after MAX_GIVEN_TOKENS tokens.
    """
    out.mkdir(parents=True, exist_ok=True)
    counts = shard_counts(shard_paths(out, GIVEN))
    used, scored = counts["prompts"], counts["generated"]
    while scored < num_tokens and used < len(exchanges):
        chunk = exchanges[used : used + PROMPTS_PER_SHARD]
        used += len(chunk)
        examples = []
        for prompt, answer in chunk:
            ids = tokenizer.apply_chat_template([_user(prompt)])
            written = [*tokenizer.encode(answer), *model.config.eos_token_ids[:1]][:MAX_GIVEN_TOKENS]
            if len(ids) <= MAX_PROMPT_TOKENS and len(written) >= MIN_GIVEN_TOKENS:
                examples.append(scored_example(model, ids, written, GIVEN_TEMPERATURE))
        if examples:
            write_shard(out / f"{GIVEN}{len(shard_paths(out, GIVEN)):04d}.safetensors", examples, len(chunk))
            scored += sum(len(example.tokens) - example.num_prompt_tokens for example in examples)
            print(f"{scored} of {num_tokens} given tokens", flush=True)


def _answer(
    model: LlamaModel, tokenizer: Tokenizer, prompts: Sequence[Prompt], num_slots: int, source: random.Random
) -> list[Example]:
    """Answers to the first turns and, for a share of the conversations, to the second."""
    system = [[{"role": "system", "content": prompt.system}] if prompt.system else [] for prompt in prompts]
    first = [[*start, _user(prompt.turns[0])] for start, prompt in zip(system, prompts, strict=True)]
    examples, answers = _complete(model, tokenizer, first, num_slots, source)
    second = [
        [*first[index], {"role": "assistant", "content": answer}, _user(prompts[index].turns[1])]
        for index, answer in answers.items()
        if len(prompts[index].turns) > 1 and source.random() < FOLLOW_UP_SHARE
    ]
    return examples + _complete(model, tokenizer, second, num_slots, source)[0]


def _complete(
    model: LlamaModel,
    tokenizer: Tokenizer,
    chats: Sequence[list[dict[str, str]]],
    num_slots: int,
    source: random.Random,
) -> tuple[list[Example], dict[int, str]]:
    """Examples, and the answers' text by the chat's index; chats that are too long are left out."""
    encoded = [(index, tokenizer.apply_chat_template(chat)) for index, chat in enumerate(chats)]
    fitting = sorted(((index, ids) for index, ids in encoded if len(ids) <= MAX_PROMPT_TOKENS), key=lambda p: len(p[1]))
    temperatures = [0.0 if source.random() < GREEDY_SHARE else SAMPLED_TEMPERATURE for _ in fitting]
    examples, answers = [], {}
    for completion in generate_batch(
        model,
        [ids for _, ids in fitting],
        max_new_tokens=MAX_NEW_TOKENS,
        temperatures=temperatures,
        num_slots=num_slots,
        max_context=MAX_PROMPT_TOKENS + MAX_NEW_TOKENS,
        seed=source.getrandbits(32),
        keep_features=True,
    ):
        index, ids = fitting[completion.index]
        examples.append(_example(ids, completion, temperatures[completion.index]))
        answers[index] = tokenizer.decode(completion.tokens)
    return examples, answers


def _example(prompt: Sequence[int], completion: Completion, temperature: float) -> Example:
    """What the target computed while it wrote: the same as scoring the finished text, for nothing."""
    assert completion.features is not None and completion.finals is not None, "asked for"
    tokens = torch.tensor([*prompt, *completion.tokens])
    return Example(tokens, len(prompt), completion.features, completion.finals, temperature)


def scored_example(
    model: LlamaModel, prompt: Sequence[int], answer: Sequence[int], temperature: float = 0.0
) -> Example:
    """Score a sequence with the target: what the drafter will see of it, and what it should have drafted."""
    tokens = [*prompt, *answer]
    finals, features = score_tokens(model, tokens[:-1])
    return Example(torch.tensor(tokens), len(prompt), features.clone(), finals.clone(), temperature)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
