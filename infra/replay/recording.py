"""What a target said, with its features: recorded once, replayed many times without the target.

A folder holds one safetensors file per stream of requests: `tokens` int32 and `features` bfloat16 [n, F] of all
sequences one after the other, `lengths` and `prompts` int64 [sequences]. The last token of a sequence has no feature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dataplane.models.generate import generate_batch, score_tokens
from dataplane.models.llama import LlamaModel


@dataclass(frozen=True, slots=True)
class Answer:
    """One request that was answered greedily."""

    tokens: tuple[int, ...]  # prompt, then answer
    num_prompt_tokens: int
    features: torch.Tensor  # [len(tokens) - 1, F] bfloat16, of the target at each token but the last


def record(
    model: LlamaModel,
    prompts: Sequence[Sequence[int]],
    path: Path,
    report: Callable[[str], None],
    *,
    max_new_tokens: int,
    num_slots: int = 16,
) -> None:
    """Answer the prompts greedily, score prompt and answer, and write the stream to `path`."""
    outputs: dict[int, tuple[int, ...]] = {}
    for completion in generate_batch(model, prompts, max_new_tokens=max_new_tokens, num_slots=num_slots):
        outputs[completion.index] = completion.tokens
        if len(outputs) % 10 == 0:
            report(f"{path.stem}: {len(outputs)} of {len(prompts)} answered")
    tokens, features = [], []
    for index, prompt in enumerate(prompts):
        sequence = [*prompt, *outputs[index]]
        tokens.append(torch.tensor(sequence, dtype=torch.int32))
        features.append(score_tokens(model, sequence[:-1])[1].to(torch.bfloat16))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            "tokens": torch.cat(tokens),
            "features": torch.cat(features),
            "lengths": torch.tensor([len(one) for one in tokens]),
            "prompts": torch.tensor([len(prompt) for prompt in prompts]),
        },
        path,
    )


def read_recording(path: Path) -> list[Answer]:
    """The answers of a stream, in the order of their arrival."""
    tensors = load_file(path)
    tokens, answers, start, row = tensors["tokens"].tolist(), [], 0, 0
    for length, prompt in zip(tensors["lengths"].tolist(), tensors["prompts"].tolist(), strict=True):
        features = tensors["features"][row : row + length - 1]
        answers.append(Answer(tuple(tokens[start : start + length]), prompt, features))
        start, row = start + length, row + length - 1
    return answers
