"""What the drafter shares with its target or imitates of it, read from the target's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open


@dataclass(frozen=True, slots=True)
class TargetTables:
    """Embeddings and head [V, H], final norm [H], and the last layer's weights by name without prefix and suffix.

    Their type is the one that training computes in (`models/precision.py`).
    """

    embeddings: torch.Tensor
    head: torch.Tensor
    final_norm: torch.Tensor
    last_layer: Mapping[str, torch.Tensor] = field(default_factory=dict)


def target_tables(folder: Path, dtype: torch.dtype) -> TargetTables:
    """Read a Hugging Face-layout folder (the model was loaded from it before, so that it is known to be sound)."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    prefix = f"model.layers.{config['num_hidden_layers'] - 1}."
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                if name in names or name.startswith(prefix):
                    tensors[name] = file.get_tensor(name).to(dtype)
    layer = {
        name.removeprefix(prefix).removesuffix(".weight"): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    embeddings = tensors["model.embed_tokens.weight"]
    head = tensors.get("lm_head.weight", embeddings)
    return TargetTables(embeddings, head, tensors["model.norm.weight"], layer)
