"""What SGLang is started with, and what our worker in its scheduler process is told: one environment variable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ALGORITHM = "SLIPSTREAM"
VARIABLE = "SLIPSTREAM_SGLANG_WORKER"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    socket: str  # path of the control channel's Unix socket, in a folder that only this user may enter
    num_slots: int  # sequences decoded at once
    max_context: int  # positions of a sequence
    static: str | None = None  # folder of the static drafter's checkpoint
    max_delta_bytes: int = 512 << 20  # tenants' deltas that are resident together

    def to_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> WorkerSettings:
        """Raises RuntimeError outside of a process that a Slipstream node has started."""
        if VARIABLE not in environment:
            raise RuntimeError(f"{VARIABLE} is not set: {ALGORITHM} runs inside a Slipstream node only")
        return cls(**json.loads(environment[VARIABLE]))


def server_arguments(
    model: str, *, num_slots: int, max_context: int, max_lookahead: int, more: Mapping[str, Any]
) -> dict[str, Any]:
    """SGLang's arguments for a node of ours. `more`: a node profile's, which win."""
    return {
        "model_path": model,
        "skip_tokenizer_init": True,
        "max_running_requests": num_slots,
        "context_length": max_context,
        "speculative_algorithm": ALGORITHM,
        "speculative_num_draft_tokens": max_lookahead + 1,
        "speculative_num_steps": max_lookahead,
        "speculative_eagle_topk": 1,
        "disable_overlap_schedule": True,
        **more,
    }
