"""Generic text of the target, shipped beside the static drafter: what a tenant's training must not forget.

`replay.safetensors`: `tokens` uint16 or int32 [sum of lengths], `lengths` and `prompts` int64 [sequences].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from dataplane.speculation.drafters.checkpoint import ArtifactError, open_artifact
from dataplane.training.unroll import Example

REPLAY_FILE = "replay.safetensors"


def write_replay_set(folder: Path, examples: Sequence[Example]) -> None:
    """Store the token ids of `examples`."""
    tokens = torch.cat([example.tokens for example in examples])
    save_file(
        {
            "tokens": tokens.to(torch.uint16 if int(tokens.max()) < 1 << 16 else torch.int32),
            "lengths": torch.tensor([len(example.tokens) for example in examples]),
            "prompts": torch.tensor([example.num_prompt_tokens for example in examples]),
        },
        folder / REPLAY_FILE,
    )


def read_replay_set(folder: Path, *, longest: int | None = None) -> list[tuple[list[int], int]]:
    """(token ids, prompt length) of every sequence; empty if the checkpoint ships none. Raises ArtifactError.

    Sequences of more than `longest` tokens are cut at their ends; those whose prompt alone is as long are left out.
    """
    if not (folder / REPLAY_FILE).exists():
        return []
    with open_artifact(folder / REPLAY_FILE) as file:
        tokens = file.get_tensor("tokens").tolist()
        lengths, prompts = file.get_tensor("lengths").tolist(), file.get_tensor("prompts").tolist()
    if sum(lengths) != len(tokens) or len(lengths) != len(prompts):
        raise ArtifactError(f"{REPLAY_FILE}: lengths don't match the tokens")
    sequences, start = [], 0
    for length, prompt in zip(lengths, prompts, strict=True):
        if longest is None or prompt < longest:
            sequences.append((tokens[start : start + length][:longest], prompt))
        start += length
    return sequences
