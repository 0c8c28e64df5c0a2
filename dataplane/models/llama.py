"""A Llama-architecture model: forward passes over a slot cache, written for few rows at a time.

Decoding reads every weight for a handful of rows, so what counts is memory bandwidth. On a CPU a bf16 model runs in
kernels of our own (`native.py`: one call per forward). Where these can't be compiled or don't fit the model, PyTorch
runs it: projections that share an input are one matrix, residual additions ride in the matrix product, and bf16
weights are packed for oneDNN where the processor has bf16 (`linear.py`).

Notation: R rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open

from dataplane.models.attention import AttentionPlan, Span, attend, plan_attention
from dataplane.models.huge_pages import use_huge_pages
from dataplane.models.kv_cache import KvCache
from dataplane.models.linear import Linear
from dataplane.models.native import NativeLlama, RowPlan, available_library, plan_rows, unsupported

log = logging.getLogger(__name__)


class ModelError(Exception):
    """The folder is not a Llama model that we can serve."""


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_context: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: Mapping[str, Any] | None
    tied: bool
    eos_token_ids: tuple[int, ...]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> LlamaConfig:
        """Read Hugging Face's config.json (either form of the rope keys). Raises ModelError."""
        if raw.get("model_type") != "llama":
            raise ModelError(f"model_type {raw.get('model_type')!r} is not supported, only llama")
        if raw.get("attention_bias") or raw.get("mlp_bias") or raw.get("hidden_act", "silu") != "silu":
            raise ModelError("biases and activations other than silu are not supported")
        rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "llama3", "linear"):
            raise ModelError(f"rope scaling {kind!r} is not supported")
        eos = raw.get("eos_token_id")
        try:
            heads = raw["num_attention_heads"]
            return cls(
                hidden_size=raw["hidden_size"],
                intermediate_size=raw["intermediate_size"],
                num_layers=raw["num_hidden_layers"],
                num_heads=heads,
                num_kv_heads=raw.get("num_key_value_heads") or heads,
                head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
                vocab_size=raw["vocab_size"],
                max_context=raw.get("max_position_embeddings", 2048),
                rms_norm_eps=raw.get("rms_norm_eps", 1e-6),
                rope_theta=float(rope.get("rope_theta") or raw.get("rope_theta") or 10000.0),
                rope_scaling=None if kind == "default" else dict(rope, rope_type=kind),
                tied=raw.get("tie_word_embeddings", False),
                eos_token_ids=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
            )
        except KeyError as error:
            raise ModelError(f"config.json lacks {error}") from error


@dataclass(frozen=True, slots=True)
class LlamaLayer:
    input_norm: torch.Tensor  # [H]
    qkv: Linear
    output: Linear
    mlp_norm: torch.Tensor  # [H]
    gate_up: Linear
    down: Linear


class LlamaModel:
    """Weights and the forward pass. Holds no state of any sequence."""

    def __init__(
        self,
        config: LlamaConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        feature_layers: tuple[int, ...] | None = None,
        max_context: int | None = None,
        native: bool = True,
        in_bytes: bool = False,
    ) -> None:
        """`tensors` by their Hugging Face names, all of one dtype on one device. Not `native`: in PyTorch for certain.

        `in_bytes`: matrices are rounded to 8 bits a weight, which the native kernels alone can do; else ModelError.

        `feature_layers`: whose outputs (0-based, after both residuals) `forward` returns beside the hidden state;
        the default is EAGLE-3's low, middle and high layer, as in SGLang: 2, L / 2, L - 3.
        """
        missing = sorted(tensor_names(config) - set(tensors))
        if missing:
            raise ModelError(f"{len(missing)} tensors are missing, first {missing[0]}")
        self.config = config
        layers = config.num_layers
        self.feature_layers = (2, layers // 2, layers - 3) if feature_layers is None else feature_layers
        if any(not 0 <= layer < layers for layer in self.feature_layers):
            raise ModelError(f"feature layers {self.feature_layers} are outside of the model's {layers}")
        self.embedding = tensors["model.embed_tokens.weight"]  # [V, H]
        self.dtype = self.embedding.dtype
        self.device = self.embedding.device
        self.max_context = min(max_context or config.max_context, config.max_context)
        self._cos, self._sin = _rope_tables(config, self.max_context, self.dtype, self.device)
        self.native, reason = self._make_native(tensors, in_bytes) if native else (None, "not asked for")
        if self.native is not None:
            self.kernels = f"native ({self.native.library.name}{', weights of 8 bits' if in_bytes else ''})"
            return
        if in_bytes:
            raise ModelError(f"weights of 8 bits need the native kernels: {reason}")
        self.norm = tensors["model.norm.weight"]
        self.head = Linear(self.embedding if config.tied else tensors["lm_head.weight"])
        self.layers = [_layer(tensors, f"model.layers.{index}") for index in range(layers)]
        self.kernels = f"{'oneDNN, packed' if self.head.packed else 'PyTorch'} (no native kernels: {reason})"

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: str = "cpu",
        *,
        dtype: torch.dtype = torch.bfloat16,
        feature_layers: tuple[int, ...] | None = None,
        max_context: int | None = None,
        native: bool = True,
        in_bytes: bool = False,
    ) -> LlamaModel:
        """Load a Hugging Face-layout folder; the options are the constructor's. Raises ModelError."""
        path = Path(path)
        try:
            config = LlamaConfig.from_dict(json.loads((path / "config.json").read_text()))
            tensors: dict[str, torch.Tensor] = {}
            for file in _weight_files(path):
                with safe_open(file, framework="pt", device=device) as opened:
                    for name in opened.keys():
                        tensors[name] = opened.get_tensor(name).to(dtype)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: {error}") from error
        model = cls(
            config, tensors, feature_layers=feature_layers, max_context=max_context, native=native, in_bytes=in_bytes
        )
        if model.native is None and model.head.packed:
            del tensors  # the packed weights replaced them
            use_huge_pages()
        log.info("%s: forward passes run in %s", path.name, model.kernels)
        return model

    def new_cache(self, num_slots: int, max_context: int | None = None) -> KvCache:
        """An empty cache for this model."""
        return KvCache(
            num_layers=self.config.num_layers,
            num_kv_heads=self.config.num_kv_heads,
            head_dim=self.config.head_dim,
            num_slots=num_slots,
            max_context=min(max_context or self.max_context, self.max_context),
            dtype=self.dtype,
            device=self.device,
        )

    def plan(self, spans: Sequence[Span], cache: KvCache) -> AttentionPlan | RowPlan:
        """Lay out a forward over `spans`, whose rows follow each other in this order."""
        if self.native is not None:
            return plan_rows(spans, cache)
        group_size = self.config.num_heads // self.config.num_kv_heads
        return plan_attention(spans, cache, group_size=group_size, dtype=self.dtype)

    def forward(
        self, token_ids: torch.Tensor | Sequence[int], plan: AttentionPlan | RowPlan, cache: KvCache
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run rows [R] through the layers and write their keys and values into the cache.

        Returns the normalised last hidden state [R, H], which `logits` takes, and the features [R, 3 H].
        """
        if self.native is not None:
            assert isinstance(plan, RowPlan), "plans are made by `plan`"
            tokens = token_ids.tolist() if isinstance(token_ids, torch.Tensor) else token_ids
            return self.native.forward(tokens, plan, cache)
        assert isinstance(plan, AttentionPlan), "plans are made by `plan`"
        return self._forward(torch.as_tensor(token_ids, device=self.device), plan, cache)

    @torch.inference_mode()
    def _forward(
        self, token_ids: torch.Tensor, plan: AttentionPlan, cache: KvCache
    ) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.config
        num_rotated = config.num_heads + config.num_kv_heads
        query_width, rotated_width = config.num_heads * config.head_dim, num_rotated * config.head_dim
        cos = self._cos.index_select(0, plan.positions).unsqueeze(1)  # [R, 1, dim]
        sin = self._sin.index_select(0, plan.positions).unsqueeze(1)
        eps, half, shape = config.rms_norm_eps, config.head_dim // 2, (config.hidden_size,)
        num_rows = token_ids.shape[0]
        hidden = self.embedding.index_select(0, token_ids.expand(2) if plan.doubled else token_ids)
        features: dict[int, torch.Tensor] = {}
        for index, layer in enumerate(self.layers):
            qkv = layer.qkv(F.rms_norm(hidden, shape, layer.input_norm, eps))
            rotated = qkv[:, :rotated_width].view(-1, num_rotated, config.head_dim)
            swapped = rotated.roll(half, -1)  # sin carries the sign of the first half
            rotated.mul_(cos).addcmul_(swapped, sin)
            cache.layers[index].index_copy_(0, plan.cache_rows, qkv[:, query_width:])
            attended = attend(
                plan, rotated[:, : config.num_heads], cache.layers[index], num_kv_heads=config.num_kv_heads
            )
            hidden = layer.output.add(attended, hidden)
            gate, up = layer.gate_up(F.rms_norm(hidden, shape, layer.mlp_norm, eps)).chunk(2, -1)
            hidden = layer.down.add(F.silu(gate).mul_(up), hidden)
            if index in self.feature_layers:
                features[index] = hidden
        captured = torch.cat([features[index] for index in self.feature_layers], -1)
        return F.rms_norm(hidden, shape, self.norm, eps)[:num_rows], captured[:num_rows]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[R, H] of `forward` -> [R, V], float32 from the native kernels, else in the model's dtype."""
        if self.native is not None:
            return self.native.logits(hidden)
        with torch.inference_mode():
            return self.head(hidden)

    def ranked_logits(self, hidden: torch.Tensor) -> tuple[torch.Tensor, list[int] | None]:
        """`logits`, and the argmax of each row, the lowest of equals, where it costs nothing."""
        if self.native is not None:
            return self.native.ranked_logits(hidden)
        return self.logits(hidden), None

    def _make_native(self, tensors: Mapping[str, torch.Tensor], in_bytes: bool) -> tuple[NativeLlama | None, str]:
        if (reason := unsupported(self.config, self.embedding)) is not None:
            return None, reason
        library, reason = available_library()
        if library is None:
            return None, reason
        native = NativeLlama(
            library,
            self.config,
            tensors,
            feature_layers=self.feature_layers,
            cos=self._cos,
            sin=self._sin,
            in_bytes=in_bytes,
        )
        return native, ""


def _weight_files(path: Path) -> list[Path]:
    index = path / "model.safetensors.index.json"
    if index.exists():
        return [path / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    return [path / "model.safetensors"]


def tensor_names(config: LlamaConfig) -> set[str]:
    """Hugging Face's names of the tensors that a model of this shape has."""
    names = {"model.embed_tokens.weight", "model.norm.weight"} | (set() if config.tied else {"lm_head.weight"})
    parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "input_layernorm"]
    parts += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "post_attention_layernorm"]
    return names | {f"model.layers.{i}.{part}.weight" for i in range(config.num_layers) for part in parts}


def _layer(tensors: Mapping[str, torch.Tensor], prefix: str) -> LlamaLayer:
    def weights(*names: str) -> torch.Tensor:
        return torch.cat([tensors[f"{prefix}.{name}.weight"] for name in names])

    return LlamaLayer(
        input_norm=weights("input_layernorm"),
        qkv=Linear(weights("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
        output=Linear(weights("self_attn.o_proj")),
        mlp_norm=weights("post_attention_layernorm"),
        gate_up=Linear(weights("mlp.gate_proj", "mlp.up_proj")),
        down=Linear(weights("mlp.down_proj")),
    )


def _rope_tables(
    config: LlamaConfig, length: int, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and signed sin [length, dim]: rotated = x * cos + roll(x, dim / 2) * sin."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = _scaled_frequencies(1.0 / config.rope_theta**exponents, config.rope_scaling)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).to(device, dtype), torch.cat((-sin, sin), -1).to(device, dtype)


def _scaled_frequencies(frequencies: torch.Tensor, scaling: Mapping[str, Any] | None) -> torch.Tensor:
    """Llama 3's stretch: long wavelengths by `factor`, short ones not, a linear blend between."""
    if scaling is None:
        return frequencies
    factor = float(scaling["factor"])
    if scaling["rope_type"] == "linear":
        return frequencies / factor
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    turns = float(scaling["original_max_position_embeddings"]) * frequencies / (2 * math.pi)
    blend = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (blend + (1 - blend) / factor)
