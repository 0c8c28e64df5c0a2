"""An arm: one way to decode, with a cache, drafters, a controller and a clock of its own."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataplane.engines.base import GenerationRequest, SpeculationStats
from dataplane.engines.embedded import EmbeddedTarget
from dataplane.engines.embedded.sequence import Sequence as RunningSequence
from dataplane.models.llama import LlamaModel
from dataplane.speculation.controller import Controller
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.registry import Desired, Tiers
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import Mode, SamplingParams, SpeculationPolicy
from infra.bench.controllers import FixedController, MovingAverageController, WatchedController
from infra.bench.stage import ALL_TIERS, MAX_CONTEXT, MAX_LOOKAHEAD, Stage

_EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Job:
    """One request of a stream."""

    tenant: str
    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """What an arm is made of. `remember`: its tenant memory keeps what it served."""

    name: str
    mode: Mode
    controller: Callable[[LatencyTable], Controller] = WatchedController
    remember: bool = False
    static: bool = True  # has the static drafter (and with it tier T2)
    tiers: Tiers = ALL_TIERS  # T0 (tenant memory), T1 (its counts in neural drafts), T2 (trained delta)
    chains_only: bool = False  # no alternatives to a draft's first token
    is_shared: bool = False  # one memory for all tenants: what a service must never do, as a reference


def fixed(lookahead: int) -> ArmSpec:
    return ArmSpec(f"fixed-{lookahead}", "static", lambda table: FixedController("static", lookahead))


PLAIN = ArmSpec("plain", "off")
STATIC = ArmSpec("static", "static")
STATIC_CHAINS = ArmSpec("static, chains", "static", chains_only=True)
STATIC_AGAIN = ArmSpec("static again", "static")  # the same once more: what the noise of the machine does
MOVING_AVERAGE = ArmSpec("moving average", "static", lambda table: MovingAverageController())
MEMORY = ArmSpec("memory", "adaptive", remember=True, static=False)
MEMORY_GLOBAL = ArmSpec("memory, global", "adaptive", remember=True, static=False, is_shared=True)
ADAPTIVE = ArmSpec("adaptive", "adaptive", remember=True)
FIXED = tuple(fixed(lookahead) for lookahead in (1, 2, 3, 4, 6, 8))


@dataclass(slots=True)
class Tally:
    """What finished requests have cost and brought."""

    requests: int = 0
    tokens: int = 0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    control_seconds: float = 0.0
    drafted_at: list[int] = field(default_factory=list)  # by position
    accepted_at: list[int] = field(default_factory=list)
    drafted_by: dict[str, int] = field(default_factory=dict)  # by source
    accepted_by: dict[str, int] = field(default_factory=dict)

    @property
    def acceptance_length(self) -> float:
        return 1 + self.accepted / self.steps if self.steps else 1.0

    def add(self, stats: SpeculationStats, tokens: int) -> None:
        self.requests += 1
        self.tokens += tokens
        self.steps += stats.steps
        self.drafted += stats.drafted
        self.accepted += stats.accepted
        self.control_seconds += stats.control_seconds
        for sums, more in (
            (self.drafted_at, stats.per_position_drafted),
            (self.accepted_at, stats.per_position_accepted),
        ):
            sums.extend([0] * (len(more) - len(sums)))
            for position, count in enumerate(more):
                sums[position] += count
        for by, counts in ((self.drafted_by, stats.drafted_by_source), (self.accepted_by, stats.accepted_by_source)):
            for source, count in counts.items():
                by[source] = by.get(source, 0) + count


class Arm:
    """`timeline[i]` is (tokens emitted, own seconds) after step i; prompts are read outside of the clock."""

    def __init__(self, stage: Stage, spec: ArmSpec, *, slots: int = 1, table: LatencyTable | None = None) -> None:
        self.spec = spec
        self._stage = stage
        self._cache = stage.model.new_cache(slots, MAX_CONTEXT)
        self._running: list[RunningSequence] = []
        self.change_target(stage.model)
        self.drafters = stage.new_drafters(num_slots=slots, static=spec.static, tiers=spec.tiers)
        self.controller = spec.controller(copy.deepcopy(stage.table if table is None else table))
        self._ends = frozenset(stage.model.config.eos_token_ids)
        self._jobs: dict[int, int] = {}  # slot -> place in the group
        self._count = 0
        self.timeline: list[tuple[int, float]] = [(0, 0.0)]
        self.outputs: list[tuple[int, ...]] = []  # of the group that runs or ran last
        self.tally = Tally()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def tokens(self) -> int:
        return self.timeline[-1][0]

    @property
    def seconds(self) -> float:
        return self.timeline[-1][1]

    def load_delta(self, tenant: str, path: Path) -> None:
        """The tenant's trained version drafts from now on."""
        self.load_deltas({tenant: path})

    def load_deltas(self, paths: Mapping[str, Path]) -> None:
        self.drafters.refresh(
            {tenant: Desired(tenant, f"{tenant}/{path.name}", path) for tenant, path in paths.items()}
        )
        self.drafters.swap_if_ready()

    def change_target(self, model: LlamaModel) -> None:
        """Other weights under the same speculator, between two groups."""
        assert not self._running
        self._target = EmbeddedTarget(model, self._cache)
        if self.spec.chains_only:
            self._target.max_alternatives = 0

    def begin(self, jobs: Sequence[Job]) -> None:
        """Read the prompts (once for all arms: the same work, bit by bit)."""
        assert not self._running
        self.outputs = [()] * len(jobs)
        for place, job in enumerate(jobs):
            self._count += 1
            tenant = _EVERYBODY if self.spec.is_shared else job.tenant
            request = GenerationRequest(
                request_id=f"{self.name}-{self._count}",
                project_id=tenant,
                deployment_id=tenant,
                cache_salt=tenant,
                prompt_tokens=job.prompt,
                max_tokens=job.max_tokens,
                sampling=SamplingParams(temperature=job.temperature, seed=job.seed),
                speculation=SpeculationPolicy(self.spec.mode, MAX_LOOKAHEAD, self.spec.remember),
            )
            sequence = RunningSequence(request, lambda chunk: None)
            sequence.slot = self._cache.allocate()
            read = self._stage.read_prompt(self._target.model, job.prompt)
            length = len(job.prompt) - 1
            if length:
                self._cache.write(sequence.slot, 0, read.keys_values)
                self._cache.commit(sequence.slot, length)
                self.drafters.extend(sequence, 0, job.prompt[1:], read.features)
            sequence.num_prefilled = length
            self._running.append(sequence)
            self._jobs[sequence.slot] = place

    def step(self) -> None:
        running = list(self._running)
        started = time.perf_counter()
        outcomes, timing = speculative_step(running, self._target, self.drafters, self.controller)
        seconds = time.perf_counter() - started
        emitted = 0
        for sequence, outcome in zip(running, outcomes, strict=True):
            chunk, finish = sequence.append(outcome, timing, len(running), self._ends)
            emitted += len(chunk.token_ids)
            if finish is not None:
                self._finish(sequence)
        self.timeline.append((self.tokens + emitted, self.seconds + seconds))

    def _finish(self, sequence: RunningSequence) -> None:
        output = tuple(sequence.tokens[sequence.num_prompt_tokens :])
        self.outputs[self._jobs.pop(sequence.slot)] = output
        self.tally.add(sequence.tally.stats(sequence.speculation.mode), len(output))
        self.drafters.release(sequence)
        self._cache.free(sequence.slot)
        self._running.remove(sequence)
