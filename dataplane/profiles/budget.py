"""The memory of one accelerator, line by line: weights + keys and values + drafter + tenants' deltas + reserve."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.profiles.profile import Draft, NodeProfile, delta_parameters

GIB = 1 << 30
_BF16 = 2
_FEATURES = 3  # target layers that the drafter sees


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    gib: float
    arithmetic: str
    static: bool  # allocated when the engine starts: what SGLang's --mem-fraction-static bounds


@dataclass(frozen=True, slots=True)
class Budget:
    lines: tuple[Line, ...]
    available_gib: float

    @property
    def used_gib(self) -> float:
        return sum(line.gib for line in self.lines)

    @property
    def static_gib(self) -> float:
        return sum(line.gib for line in self.lines if line.static)

    def __str__(self) -> str:
        rows = [f"{line.name:<16}{line.gib:8.2f} GiB   {line.arithmetic}" for line in self.lines]
        rows.append(f"{'together':<16}{self.used_gib:8.2f} GiB   of {self.available_gib:g} GiB")
        return "\n".join(rows)


def budget(profile: NodeProfile) -> Budget:
    """What one of the profile's accelerators (or the host, on a CPU) holds. The drafter and deltas are on each."""
    machine, target, draft, tenants = profile.machine, profile.target, profile.draft, profile.tenants
    parameters = draft_parameters(draft)
    draft_kv = 2 * draft.num_kv_heads * draft.head_dim * _BF16
    delta = delta_parameters(draft, tenants.rank)
    lines = (
        Line(
            "weights",
            target.weight_gb * 1e9 / machine.count / GIB,
            f"{target.weight_gb:g} GB / {machine.count}",
            True,
        ),
        Line("drafter", parameters * _BF16 / GIB, f"{parameters:,} parameters x {_BF16} B", True),
        Line(
            "keys, values",
            target.kv_tokens * target.kv_bytes_per_token / target.kv_shards / GIB,
            f"{target.kv_tokens:,} tokens x {target.kv_bytes_per_token:,} B / {target.kv_shards}",
            True,
        ),
        Line("drafter's", target.kv_tokens * draft_kv / GIB, f"{target.kv_tokens:,} tokens x {draft_kv:,} B", True),
        Line(
            "tenants' deltas",
            tenants.resident * delta * _BF16 / GIB,
            f"{tenants.resident:,} x {delta:,} parameters (rank {tenants.rank}) x {_BF16} B",
            False,
        ),
        Line("reserve", machine.reserve_gib, "activations, captured graphs, runtime", False),
    )
    return Budget(lines, machine.memory_gib)


def draft_parameters(draft: Draft) -> int:
    """Of an EAGLE-3 head; the embedding table is the target's."""
    hidden, query, keys = draft.hidden_size, draft.num_heads * draft.head_dim, draft.num_kv_heads * draft.head_dim
    attention = 2 * hidden * (query + 2 * keys) + query * hidden
    mlp = 3 * hidden * draft.intermediate_size
    return _FEATURES * hidden * hidden + attention + mlp + hidden * draft.draft_vocab_size + 4 * hidden
