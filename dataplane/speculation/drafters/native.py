"""The static drafter in the CPU kernels: a whole chain of drafts in one call, with weights of 8 bits.

Where these can't be compiled, or don't fit the drafter, `eagle.py` runs in PyTorch instead.
"""

from __future__ import annotations

import torch

from cpu_kernels import BuildError, Library, load_library
from cpu_kernels.draft import DraftKernels
from cpu_kernels.packing import PANEL
from dataplane.speculation.drafters.checkpoint import EAGLE, EagleCheckpoint, EagleConfig


def unsupported(config: EagleConfig, embeddings: torch.Tensor) -> str | None:
    """Why the kernels can't run this drafter; None if they can."""
    if embeddings.dtype != torch.bfloat16 or embeddings.device.type != "cpu":
        return f"they compute in bf16 on a CPU, not in {embeddings.dtype} on {embeddings.device}"
    if config.design != EAGLE:
        return f"they have no {config.design} drafter"
    sizes = {"hidden size": config.hidden_size, "inner size": config.intermediate_size, "head size": config.head_dim}
    for name, size in sizes.items():
        if size % PANEL:
            return f"the {name} {size} is no multiple of {PANEL}"
    if config.num_heads % config.num_kv_heads:
        return f"{config.num_heads} heads don't share {config.num_kv_heads} key-value heads evenly"
    return None


def draft_kernels(
    checkpoint: EagleCheckpoint,
    embeddings: torch.Tensor,  # [V, H]
    *,
    cos: torch.Tensor,  # [positions, D], as in `eagle.rotary_table`
    sin: torch.Tensor,
    num_slots: int,
    library: Library | None = None,  # default: the one for this processor
) -> DraftKernels | None:
    """The drafter's kernels, or None where they can't be had."""
    if unsupported(checkpoint.config, embeddings) is not None:
        return None
    try:
        library = library or load_library()
    except BuildError:
        return None
    config = checkpoint.config

    def weight(*names: str) -> torch.Tensor:
        return torch.cat([checkpoint.tensors[f"{name}.weight"] for name in names])

    weights = {
        "fuse": weight("fc"),
        "projection": weight(*(f"midlayer.self_attn.{part}_proj" for part in "qkv")),
        "output": weight("midlayer.self_attn.o_proj"),
        "gate": weight("midlayer.mlp.gate_proj"),
        "up": weight("midlayer.mlp.up_proj"),
        "down": weight("midlayer.mlp.down_proj"),
        "head": weight("lm_head"),
        "embedding_norm": weight("midlayer.input_layernorm"),
        "hidden_norm": weight("midlayer.hidden_norm"),
        "mlp_norm": weight("midlayer.post_attention_layernorm"),
        "norm": weight("norm"),
    }
    return DraftKernels(
        library,
        weights,
        embedding=embeddings,
        hot_tokens=checkpoint.hot_tokens,
        cos=cos,
        sin=sin,
        heads=config.num_heads,
        kv_heads=config.num_kv_heads,
        epsilon=config.rms_norm_eps,
        num_slots=num_slots,
    )
