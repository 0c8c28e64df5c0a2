"""Tiny random drafters in float64, for tests of the neural drafter and of its training."""

from __future__ import annotations

import torch

from dataplane.speculation.drafters.checkpoint import EagleCheckpoint, EagleConfig, vocabulary_maps

VOCABULARY, HOT = 61, 29
CONFIG = EagleConfig(
    hidden_size=16,
    intermediate_size=24,
    num_heads=4,
    num_kv_heads=2,
    head_dim=4,
    target_vocab_size=VOCABULARY,
    draft_vocab_size=HOT,
    feature_layers=(0, 1, 2),
    rope_theta=100.0,
    max_position_embeddings=128,
)


def tiny_checkpoint(seed: int = 0, dtype: torch.dtype = torch.float64, config: EagleConfig = CONFIG) -> EagleCheckpoint:
    """Random weights, large enough that attention and MLP matter."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * (0.4 if len(shape) > 1 else 1.0)
        for name, shape in config.shapes().items()
        if name not in ("d2t", "t2d")
    }
    hot = torch.randperm(config.target_vocab_size, generator=generator)[: config.draft_vocab_size].sort().values
    return EagleCheckpoint(config, {**tensors, **vocabulary_maps(hot, config.target_vocab_size)}, "0" * 64)


def tiny_embeddings(seed: int = 1, dtype: torch.dtype = torch.float64, config: EagleConfig = CONFIG) -> torch.Tensor:
    """The target's embedding table."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(config.target_vocab_size, config.hidden_size, generator=generator, dtype=torch.float64).to(dtype)
