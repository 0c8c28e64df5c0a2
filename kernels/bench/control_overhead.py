"""What tenant memory and controller cost per step and per token, in microseconds: kernels/bench/control_overhead.py

The target and the drafter are free, so what is left of a step is what the controller and the memory take. Counts CPU
time. Prints one JSON object; `share_of_10_ms` compares with a target forward of 10 ms. `--stored` fills the project's
table beforehand, so that every look-up misses the processor's caches as it would in a busy project.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.types import (
    EMPTY_PROPOSAL,
    Candidates,
    SamplingParams,
    SpeculationPolicy,
    StepOutcome,
    StepTiming,
)

TARGET_SECONDS = 0.010


@dataclass(slots=True)
class Request:
    """A running sequence (`types.SequenceView`) whose output is known beforehand."""

    tokens: list[int]
    answer: list[int]
    slot: int
    num_prompt_tokens: int
    project_id: str = "prj"
    memory_scope: str = "prj"
    deployment_id: str = "end"
    num_logprobs: int | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationPolicy = field(default_factory=lambda: SpeculationPolicy("adaptive", 8, True))

    @property
    def num_remaining(self) -> int:
        return self.num_prompt_tokens + len(self.answer) - len(self.tokens)


def workload(count: int, *, seed: int = 0) -> list[Request]:
    """Prompts of 300 tokens; answers of 100 that fill 10 random slots of one of 5 templates."""
    draw = random.Random(seed)
    templates = [[draw.randrange(49_152) for _ in range(100)] for _ in range(5)]
    requests = []
    for index in range(count):
        answer = list(draw.choice(templates))
        for _ in range(10):
            answer[draw.randrange(100)] = draw.randrange(49_152)
        prompt = [draw.randrange(2_000) for _ in range(300)]
        requests.append(Request(prompt, answer, index, len(prompt)))
    return requests


def serve(requests: Sequence[Request], memory: TenantMemory, controller: Controller) -> tuple[int, int, float, float]:
    """Run the batch to its end. Returns (steps, tokens, seconds in the controller, seconds in the memory)."""
    timing = StepTiming(score=TARGET_SECONDS)
    steps = tokens = 0
    seconds = remembering = 0.0
    while running := [request for request in requests if request.num_remaining > 0]:
        started = time.thread_time()
        candidates = [
            Candidates(memory.propose(request, min(8, request.num_remaining - 1)))
            if request.num_remaining > 1
            else Candidates()
            for request in running
        ]
        recalled = time.thread_time()
        plans = controller.plan(running, candidates)
        proposals = [
            candidate.memory.cut(plan.lookahead) if plan.source == "memory" else EMPTY_PROPOSAL
            for plan, candidate in zip(plans, candidates, strict=True)
        ]
        proposals = controller.cut(running, plans, proposals)
        decided = time.thread_time()
        outcomes = []
        for request, plan, kept in zip(running, plans, proposals, strict=True):
            start = len(request.tokens) - request.num_prompt_tokens
            accepted = 0
            while accepted < len(kept) and kept.tokens[accepted] == request.answer[start + accepted]:
                accepted += 1
            emitted = tuple(request.answer[start : start + accepted + 1])
            outcomes.append(StepOutcome(kept, accepted, emitted, plan=plan))
            tokens += len(emitted)
        observing = time.thread_time()
        controller.observe(running, candidates, outcomes, timing)
        remembering += recalled - started
        seconds += (decided - recalled) + (time.thread_time() - observing)
        for request, outcome in zip(running, outcomes, strict=True):
            request.tokens += outcome.new_tokens
        steps += len(running)
    started = time.thread_time()
    for request in requests:
        memory.release(request)
    return steps, tokens, seconds, remembering + time.thread_time() - started


def fill(memory: TenantMemory, tokens: int, *, seed: int = 1) -> None:
    """Let the project's table learn `tokens` random tokens: the worst that a table can be full of."""
    draw = random.Random(seed)
    for start in range(0, tokens, 10_000):
        text = draw.choices(range(49_152), k=min(10_000, tokens - start))
        request = Request([1, *text], text, 0, 1)
        memory.propose(request, 1)
        memory.release(request)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--stored", type=int, default=0, help="tokens that the project's table has learned before")
    parser.add_argument("--project-mib", type=int, default=16, help="quota of the project's table")
    parser.add_argument("--plain-python", action="store_true", help="without the compiled tables")
    arguments = parser.parse_args()
    memory = TenantMemory(project_bytes=arguments.project_mib << 20, native=not arguments.plain_python)
    controller = Controller()
    fill(memory, arguments.stored)
    requests = workload(arguments.requests)
    steps = tokens = 0
    controlling = remembering = 0.0
    for first in range(0, len(requests), arguments.batch):
        done = serve(requests[first : first + arguments.batch], memory, controller)
        steps, tokens, controlling, remembering = (
            steps + done[0], tokens + done[1], controlling + done[2], remembering + done[3]
        )  # fmt: skip
    per_step = (controlling + remembering) / steps
    print(
        json.dumps(
            {
                "batch": arguments.batch,
                "acceptance_length": round(tokens / steps, 3),
                "microseconds_per_sequence_step": round(1e6 * per_step, 1),
                "memory_microseconds_per_token": round(1e6 * remembering / tokens, 1),
                "controller_microseconds_per_token": round(1e6 * controlling / tokens, 1),
                "stored_tokens": memory.tokens_of("prj"),
                "table_mib": memory.bytes_of("prj") / (1 << 20),
                "share_of_10_ms": round(per_step / TARGET_SECONDS, 5),
            }
        )
    )


if __name__ == "__main__":
    main()
