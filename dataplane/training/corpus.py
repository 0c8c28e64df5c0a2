"""Shards of sequences with what the target computed on them: the static drafter's training data on disk.

A shard is one safetensors file: `tokens` int32 [sum of lengths], `lengths`, `prompts` int64 [sequences],
`temperature` float32 [sequences], `features` [rows, 3H] and `finals` [rows, H], where a sequence of n tokens has
n - 1 rows (its last token was never fed to the target). A JSON file beside it counts prompts and generated tokens.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dataplane.training.unroll import Example

GENERATED, GIVEN = "part0-", "part1-"  # how names of shards begin: text of the target's own, and others' that it scored


def write_shard(path: Path, examples: Sequence[Example], num_prompts: int) -> None:
    """Write one shard atomically; `num_prompts` is how many prompts of the source it used up (for resuming)."""
    tensors = {
        "tokens": torch.cat([example.tokens for example in examples]).to(torch.int32),
        "lengths": torch.tensor([len(example.tokens) for example in examples]),
        "prompts": torch.tensor([example.num_prompt_tokens for example in examples]),
        "temperature": torch.tensor([example.temperature for example in examples]),
        "features": torch.cat([example.features for example in examples]),
        "finals": torch.cat([example.finals for example in examples]),
    }
    generated = sum(len(example.tokens) - example.num_prompt_tokens for example in examples)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    path.with_suffix(".json").write_text(
        json.dumps({"prompts": num_prompts, "generated": generated, "sequences": len(examples)}), encoding="utf-8"
    )
    os.replace(partial, path)


def read_shard(path: Path) -> list[Example]:
    """The examples of one shard."""
    tensors = load_file(path)
    examples, token, row = [], 0, 0
    for length, prompt, temperature in zip(
        tensors["lengths"].tolist(), tensors["prompts"].tolist(), tensors["temperature"].tolist(), strict=True
    ):
        examples.append(
            Example(
                tensors["tokens"][token : token + length].long(),
                prompt,
                tensors["features"][row : row + length - 1],
                tensors["finals"][row : row + length - 1],
                temperature,
            )
        )
        token, row = token + length, row + length - 1
    return examples


def shard_paths(folder: Path, kind: str = "") -> list[Path]:
    """Complete shards whose names begin with `kind`, in name order."""
    return sorted(path for path in folder.glob(f"{kind}*.safetensors") if path.with_suffix(".json").exists())


def shard_counts(paths: Sequence[Path]) -> dict[str, int]:
    """Totals over the shards' JSON files: `prompts`, `generated`, `sequences`."""
    totals = {"prompts": 0, "generated": 0, "sequences": 0}
    for path in paths:
        for key, value in json.loads(path.with_suffix(".json").read_text(encoding="utf-8")).items():
            totals[key] += value
    return totals
