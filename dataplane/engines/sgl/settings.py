"""What our worker is told when SGLang's scheduler process starts: one environment variable, inherited by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

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
