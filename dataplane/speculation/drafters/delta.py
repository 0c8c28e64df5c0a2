"""A tenant's trained delta (tier T2): low-rank changes of the static drafter's MLP and head.

`fc` and the attention are never changed, so the draft KV cache of committed positions serves the static and the
adapted drafter alike, and the source may change at every step. Low rank: Hu et al. 2021 (arXiv 2106.09685).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save

from cpu_kernels.draft import LOW_RANK_MODULES, PackedDelta
from dataplane.speculation.drafters.checkpoint import (
    ArtifactError,
    EagleCheckpoint,
    load_checkpoint,
    open_artifact,
    read_tensor,
    save_checkpoint,
)

FORMAT_VERSION = 1
DELTA_MODULES = ("midlayer.mlp.gate_proj", "midlayer.mlp.up_proj", "midlayer.mlp.down_proj", "lm_head")
MAX_RANK = 64
MAX_MEMORY_TOKENS = 200_000


@dataclass(frozen=True, slots=True)
class TenantDelta:
    """`low_rank[module]` = (A [rank, in], B [out, rank]); the module's weight becomes W + B A (the scale is in B).

    `memory` seeds the tenant memory: token sequences of the records that the delta was trained on.
    """

    static_sha256: str
    rank: int
    low_rank: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    confidence_temperature: float = 1.0
    memory: tuple[tuple[int, ...], ...] = ()
    size_bytes: int = field(default=0, compare=False)
    packed: PackedDelta | None = field(default=None, compare=False, repr=False)  # for the CPU kernels

    def to(self, like: torch.Tensor) -> TenantDelta:
        """The delta in the dtype and on the device of `like`."""
        moved = {module: (down.to(like), up.to(like)) for module, (down, up) in self.low_rank.items()}
        return replace(self, low_rank=moved)

    def pack(self) -> TenantDelta:
        """The delta, ready for the CPU kernels."""
        names = dict(zip(LOW_RANK_MODULES, DELTA_MODULES, strict=True))
        return replace(self, packed=PackedDelta({name: self.low_rank[module] for name, module in names.items()}))

    def apply(self, module: str, inputs: torch.Tensor) -> torch.Tensor:
        """The delta's part of the module's output: inputs [n, in] -> [n, out]."""
        down, up = self.low_rank[module]
        return (inputs @ down.T) @ up.T


def save_delta(path: Path, delta: TenantDelta) -> None:
    """Write the artifact atomically, in bfloat16."""
    tensors: dict[str, torch.Tensor] = {}
    for module, (down, up) in delta.low_rank.items():
        tensors[f"{module}.lora_A"] = down.detach().to(torch.bfloat16).contiguous()
        tensors[f"{module}.lora_B"] = up.detach().to(torch.bfloat16).contiguous()
    tensors.update(_memory_tensors(delta.memory))
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "static_sha256": delta.static_sha256,
        "rank": str(delta.rank),
        "temperature": repr(delta.confidence_temperature),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(_ordered(save(tensors, metadata=metadata)))
    os.replace(partial, path)


def load_delta(path: Path, static: EagleCheckpoint) -> TenantDelta:
    """Read a delta for `static`. Raises ArtifactError for a wrong digest, shape, type, version or number."""
    with open_artifact(path) as file:
        metadata = file.metadata() or {}
        if metadata.get("format_version") != str(FORMAT_VERSION):
            raise ArtifactError(f"format_version {metadata.get('format_version')!r} is not {FORMAT_VERSION}")
        if metadata.get("static_sha256") != static.sha256:
            raise ArtifactError("the delta belongs to another static drafter")
        try:
            rank, temperature = int(metadata.get("rank", "")), float(metadata.get("temperature", "1"))
        except ValueError as error:
            raise ArtifactError(f"metadata: {error}") from error
        if not (1 <= rank <= MAX_RANK and 0.05 <= temperature <= 20):
            raise ArtifactError(f"rank {rank} or temperature {temperature} out of range")
        low_rank = {}
        for module in DELTA_MODULES:
            out, inner = static.config.shapes()[f"{module}.weight"]
            down = read_tensor(file, f"{module}.lora_A", (rank, inner))
            up = read_tensor(file, f"{module}.lora_B", (out, rank))
            if not (down.is_floating_point() and up.is_floating_point()):
                raise ArtifactError(f"{module}: the low-rank factors are not floating point")
            low_rank[module] = (down, up)
        memory: tuple[tuple[int, ...], ...] = ()
        if "memory.tokens" in file.keys():
            memory = _read_memory(file.get_tensor("memory.tokens"), file.get_tensor("memory.offsets"), static)
    return TenantDelta(static.sha256, rank, low_rank, temperature, memory, path.stat().st_size)


def merge(static_folder: Path, delta_path: Path, out_folder: Path) -> str:
    """Fold a delta into a full EAGLE-3 checkpoint, for a dedicated replica. Returns its digest."""
    static = load_checkpoint(static_folder)
    delta = load_delta(delta_path, static)
    tensors = dict(static.tensors)
    for module, (down, up) in delta.low_rank.items():
        tensors[f"{module}.weight"] = tensors[f"{module}.weight"].float() + up.float() @ down.float()
    return save_checkpoint(out_folder, static.config, tensors)


def newest_sequences(sequences: Sequence[Sequence[int]], limit: int = MAX_MEMORY_TOKENS) -> tuple[tuple[int, ...], ...]:
    """The last sequences, whole, that together hold at most `limit` tokens; in their order."""
    kept: list[tuple[int, ...]] = []
    total = 0
    for sequence in reversed(sequences):
        total += len(sequence)
        if total > limit:
            break
        kept.append(tuple(sequence))
    return tuple(reversed(kept))


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library writes them in a random one, which changes the digest.

    Layout: header length (8 bytes, little endian), header (JSON, padded with spaces), tensor data.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"))
    return content[:8] + text.encode().ljust(end - 8) + content[end:]


def _memory_tensors(sequences: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    if not sequences:
        return {}
    lengths = torch.tensor([0] + [len(sequence) for sequence in sequences])
    flat = [token for sequence in sequences for token in sequence]
    return {"memory.tokens": torch.tensor(flat, dtype=torch.int32), "memory.offsets": lengths.cumsum(0)}


def _read_memory(tokens: torch.Tensor, offsets: torch.Tensor, static: EagleCheckpoint) -> tuple[tuple[int, ...], ...]:
    if tokens.dtype != torch.int32 or offsets.dtype != torch.int64 or tokens.dim() != 1 or offsets.dim() != 1:
        raise ArtifactError("memory: wrong types")
    bounds = offsets.tolist()
    if len(tokens) > MAX_MEMORY_TOKENS or not bounds or bounds[0] != 0 or bounds[-1] != len(tokens):
        raise ArtifactError("memory: offsets don't match the tokens")
    if any(after < before for before, after in pairwise(bounds)):
        raise ArtifactError("memory: offsets decrease")
    if len(tokens) and not (0 <= int(tokens.min()) and int(tokens.max()) < static.config.target_vocab_size):
        raise ArtifactError("memory: a token is outside the target's vocabulary")
    flat = tokens.tolist()
    return tuple(tuple(flat[start:end]) for start, end in pairwise(bounds))
