"""A random Llama of a few thousand parameters: the real forward pass, where the real model is not the point."""

from __future__ import annotations

import dataclasses

import torch

from dataplane.models.llama import LlamaConfig, LlamaModel, tensor_names

TINY = LlamaConfig(
    hidden_size=32,
    intermediate_size=48,
    num_layers=4,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    vocab_size=61,
    max_context=512,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    rope_scaling=None,
    tied=True,
    eos_token_ids=(2,),
)


def tiny_tensors(
    config: LlamaConfig = TINY, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """Random weights by their Hugging Face names, large enough that the likeliest token varies."""
    generator = torch.Generator().manual_seed(seed)
    query, key_value = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = {
        "q_proj": (query, hidden), "k_proj": (key_value, hidden), "v_proj": (key_value, hidden),
        "o_proj": (hidden, query), "gate_proj": (inner, hidden), "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
        "embed_tokens": (config.vocab_size, hidden), "lm_head": (config.vocab_size, hidden),
    }  # fmt: skip
    tensors = {}
    for name in sorted(tensor_names(config)):
        kind = name.split(".")[-2]
        shape = shapes.get(kind, (hidden,))
        scale, shift = (0.25, 0.0) if kind in shapes else (0.1, 1.0)
        tensors[name] = (shift + scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
    return tensors


def tiny_llama(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> LlamaModel:
    return LlamaModel(TINY, tiny_tensors(seed=seed, dtype=dtype), feature_layers=(0, 1, 2))


# In bf16, with sizes that the native kernels take: all but the vocabulary are multiples of 16.
TINY_NATIVE = dataclasses.replace(TINY, intermediate_size=80, head_dim=16)


def tiny_native(*, seed: int = 0, native: bool = True, vocab_size: int = TINY.vocab_size) -> LlamaModel:
    config = dataclasses.replace(TINY_NATIVE, vocab_size=vocab_size)
    tensors = tiny_tensors(config, seed=seed, dtype=torch.bfloat16)
    return LlamaModel(config, tensors, feature_layers=(0, 1, 2), native=native)
