"""EAGLE-3 checkpoints on disk: the static drafter's folder, in the format that SGLang loads as LlamaForCausalLMEagle3.

Tensors of `model.safetensors` (H hidden, I intermediate, Vd hot vocabulary, V target vocabulary):

    fc.weight [H, 3H]                                      three target features -> one hidden state
    midlayer.hidden_norm|input_layernorm|post_attention_layernorm.weight [H]
    midlayer.self_attn.{q,k,v}_proj.weight [heads * head_dim, 2H]   input: embedding | hidden
    midlayer.self_attn.o_proj.weight [H, heads * head_dim]
    midlayer.mlp.{gate,up}_proj.weight [I, H]   midlayer.mlp.down_proj.weight [H, I]
    norm.weight [H]   lm_head.weight [Vd, H]   d2t int64 [Vd] = target id - draft id   t2d bool [V]

A recurrent drafter (`design`), which we alone read, has `midlayer.mix.weight` [H, 2H] in place of the attention: a
draft depends on the one before and on the features of one position.

The embedding table is the target's and isn't stored. Source: EAGLE-3, Li et al. 2025 (arXiv 2503.01840), section 3.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
DESIGNS = EAGLE, RECURRENT = ("eagle3", "recurrent")
ATTENTION_INPUTS = ("q_proj", "k_proj", "v_proj")


class ArtifactError(ValueError):
    """A checkpoint or a delta is damaged, hostile, or belongs to something else. It isn't loaded."""


@dataclass(frozen=True, slots=True)
class EagleConfig:
    """Shape of a drafter. `feature_layers[i]` is the target layer whose output is the i-th captured feature."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    target_vocab_size: int
    draft_vocab_size: int
    feature_layers: tuple[int, ...]
    rms_norm_eps: float = 1e-5
    rope_theta: float = 1e5
    max_position_embeddings: int = 8192
    # Confidences are softmax(logits / confidence_temperature).max(): calibrated on held-out text.
    confidence_temperature: float = 1.0
    design: str = EAGLE

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EagleConfig:
        """Read the Hugging Face-style `config.json`. Raises ArtifactError for a missing or ill-typed key."""
        try:
            heads = int(data["num_attention_heads"])
            hidden = int(data["hidden_size"])
            return cls(
                hidden_size=hidden,
                intermediate_size=int(data["intermediate_size"]),
                num_heads=heads,
                num_kv_heads=int(data.get("num_key_value_heads", heads)),
                head_dim=int(data.get("head_dim") or hidden // heads),
                target_vocab_size=int(data["vocab_size"]),
                draft_vocab_size=int(data["draft_vocab_size"]),
                feature_layers=tuple(int(i) for i in data["eagle_config"]["eagle_aux_hidden_state_layer_ids"]),
                rms_norm_eps=float(data["rms_norm_eps"]),
                rope_theta=float(data["rope_theta"]),
                max_position_embeddings=int(data["max_position_embeddings"]),
                confidence_temperature=float(data.get("confidence_temperature", 1.0)),
                design=RECURRENT if data.get("architectures") == [RECURRENT] else EAGLE,
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ArtifactError(f"{CONFIG_FILE}: {error!r}") from error

    def to_json(self) -> dict[str, Any]:
        """The `config.json` that SGLang and we read."""
        return {
            "architectures": ["LlamaForCausalLMEagle3" if self.design == EAGLE else RECURRENT],
            "model_type": "llama",
            "hidden_act": "silu",
            "attention_bias": False,
            "num_hidden_layers": 1,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.target_vocab_size,
            "draft_vocab_size": self.draft_vocab_size,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": None,
            "max_position_embeddings": self.max_position_embeddings,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "eagle_config": {
                "eagle_aux_hidden_state_layer_ids": list(self.feature_layers),
                "use_aux_hidden_state": True,
            },
            "confidence_temperature": self.confidence_temperature,
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the checkpoint by name, with its shape."""
        hidden, heads, kv_heads = self.hidden_size, self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        layer: dict[str, tuple[int, ...]] = {
            "hidden_norm": (hidden,),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
            **(
                {
                    "self_attn.q_proj": (heads, 2 * hidden),
                    "self_attn.k_proj": (kv_heads, 2 * hidden),
                    "self_attn.v_proj": (kv_heads, 2 * hidden),
                    "self_attn.o_proj": (hidden, heads),
                }
                if self.design == EAGLE
                else {"mix": (hidden, 2 * hidden)}
            ),
            "mlp.gate_proj": (self.intermediate_size, hidden),
            "mlp.up_proj": (self.intermediate_size, hidden),
            "mlp.down_proj": (hidden, self.intermediate_size),
        }
        return {
            "fc.weight": (hidden, len(self.feature_layers) * hidden),
            **{f"midlayer.{name}.weight": shape for name, shape in layer.items()},
            "norm.weight": (hidden,),
            "lm_head.weight": (self.draft_vocab_size, hidden),
            "d2t": (self.draft_vocab_size,),
            "t2d": (self.target_vocab_size,),
        }


@dataclass(frozen=True, slots=True)
class EagleCheckpoint:
    """A static drafter in memory."""

    config: EagleConfig
    tensors: Mapping[str, torch.Tensor]
    sha256: str  # of the weights file: what a delta says that it belongs to

    @property
    def hot_tokens(self) -> torch.Tensor:
        """Target id of every draft id, int64 [Vd]."""
        return self.tensors["d2t"] + torch.arange(self.config.draft_vocab_size)


def vocabulary_maps(hot_tokens: torch.Tensor, target_vocab_size: int) -> dict[str, torch.Tensor]:
    """`d2t` and `t2d` for sorted target ids `hot_tokens`, int64 [Vd]."""
    known = torch.zeros(target_vocab_size, dtype=torch.bool)
    known[hot_tokens] = True
    return {"d2t": hot_tokens - torch.arange(len(hot_tokens)), "t2d": known}


def load_checkpoint(folder: Path) -> EagleCheckpoint:
    """Read and validate a static drafter's folder. Raises ArtifactError."""
    try:
        config = EagleConfig.from_json(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{folder / CONFIG_FILE}: {error}") from error
    tensors: dict[str, torch.Tensor] = {}
    with open_artifact(folder / WEIGHTS_FILE) as file:
        for name, shape in config.shapes().items():
            tensors[name] = read_tensor(file, name, shape)
    hot = tensors["d2t"] + torch.arange(config.draft_vocab_size)
    if tensors["d2t"].dtype != torch.int64 or int(hot.min()) < 0 or int(hot.max()) >= config.target_vocab_size:
        raise ArtifactError("d2t points outside the target's vocabulary")
    return EagleCheckpoint(config, tensors, file_sha256(folder / WEIGHTS_FILE))


def save_checkpoint(folder: Path, config: EagleConfig, tensors: Mapping[str, torch.Tensor]) -> str:
    """Write a folder that `load_checkpoint` and SGLang read; each file appears atomically. Returns the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        name: tensors[name].detach().to(torch.bfloat16 if tensors[name].is_floating_point() else tensors[name].dtype)
        for name in config.shapes()
    }
    partial = folder / (WEIGHTS_FILE + ".partial")
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS_FILE)
    partial = folder / (CONFIG_FILE + ".partial")
    partial.write_text(json.dumps(config.to_json(), indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / CONFIG_FILE)
    return file_sha256(folder / WEIGHTS_FILE)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_artifact(path: Path) -> Iterator[Any]:
    """A safetensors file for reading; whatever is wrong with it becomes an ArtifactError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path.name}: {error}") from error


def read_tensor(file: Any, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """One tensor of an open artifact, which must have `shape` and, if floating, be finite."""
    if name not in file.keys():
        raise ArtifactError(f"tensor {name} is missing")
    found = tuple(file.get_slice(name).get_shape())
    if found != shape:
        raise ArtifactError(f"tensor {name} has shape {list(found)}, expected {list(shape)}")
    tensor: torch.Tensor = file.get_tensor(name)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ArtifactError(f"tensor {name} holds a value that isn't finite")
    return tensor
