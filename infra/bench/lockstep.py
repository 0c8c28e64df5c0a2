"""Anti-workload: creative prompts at temperature 1, which nobody can predict. Does adaptation ever cost anything?

Two arms, adaptive and static, each with its own cache, drafters, controller and clock, take turns: always the one that
has emitted fewer tokens steps. A seed gives the same output in every mode, so both arms work on the same text in the
same moments, and the machine's noise hits both.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dataplane.engines.base import GenerationRequest
from dataplane.engines.embedded import EmbeddedTarget
from dataplane.engines.embedded.calibrate import sweep_latencies
from dataplane.engines.embedded.engine import PREFILL_CHUNK
from dataplane.engines.embedded.sequence import Sequence as RunningSequence
from dataplane.speculation.controller import Controller
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.registry import Desired
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import Mode, SamplingParams, SpeculationPolicy
from infra.bench.prompts import CREATIVE
from infra.bench.stage import MAX_CONTEXT, MAX_LOOKAHEAD, Stage
from infra.bench.statistics import Window, windows

_MAX_TOKENS = 200
_TENANT = "anti-workload"


@dataclass(frozen=True, slots=True)
class AntiWorkload:
    windows: tuple[Window, ...]
    tokens: int
    seconds: dict[str, float]
    equal_outputs: float  # share of prompts with the same sampled tokens in both arms


class _Arm:
    """One mode with everything of its own. `timeline[i]` is (tokens emitted, own seconds) after step i."""

    def __init__(self, stage: Stage, mode: Mode, delta: Path | None, table: LatencyTable | None = None) -> None:
        self._stage, self._mode = stage, mode
        self._cache = stage.model.new_cache(1, MAX_CONTEXT)
        self._target = EmbeddedTarget(stage.model, self._cache)
        self._drafters = stage.new_drafters(num_slots=1)
        self._controller = Controller(copy.deepcopy(table))
        if table is None:
            sweep_latencies(self._target, self._drafters, self._controller)
        if delta is not None:
            self._drafters.refresh({_TENANT: Desired(_TENANT, f"{_TENANT}-1", delta)})
            self._drafters.swap_if_ready()
        self._ends = frozenset(stage.model.config.eos_token_ids)
        self._sequence: RunningSequence | None = None
        self.timeline: list[tuple[int, float]] = [(0, 0.0)]
        self.outputs: list[tuple[int, ...]] = []

    @property
    def table(self) -> LatencyTable:
        return self._controller.table

    @property
    def is_busy(self) -> bool:
        return self._sequence is not None

    @property
    def tokens(self) -> int:
        return self.timeline[-1][0]

    @property
    def seconds(self) -> float:
        return self.timeline[-1][1]

    def begin(self, prompt: tuple[int, ...], seed: int) -> None:
        """Read the prompt; outside of the clock, because it is the same work in both arms."""
        request = GenerationRequest(
            request_id=f"{_TENANT}-{seed}",
            project_id=_TENANT,
            deployment_id=_TENANT,
            cache_salt=_TENANT,
            prompt_tokens=prompt,
            max_tokens=_MAX_TOKENS,
            sampling=SamplingParams(temperature=1.0, seed=seed),
            speculation=SpeculationPolicy(self._mode, MAX_LOOKAHEAD, remember=self._mode == "adaptive"),
        )
        sequence = RunningSequence(request, lambda chunk: None)
        sequence.slot = self._cache.allocate()
        for start in range(0, len(prompt) - 1, PREFILL_CHUNK):
            end = min(start + PREFILL_CHUNK, len(prompt) - 1)
            features = self._target.prefill(sequence.slot, prompt[start:end])
            self._drafters.extend(sequence, start, prompt[start + 1 : end + 1], features)
        sequence.num_prefilled = len(prompt) - 1
        self._sequence = sequence

    def step(self) -> None:
        sequence = self._sequence
        assert sequence is not None
        started = time.perf_counter()
        outcomes, timing = speculative_step([sequence], self._target, self._drafters, self._controller)
        seconds = time.perf_counter() - started
        chunk, finish = sequence.append(outcomes[0], timing, 1, self._ends)
        self.timeline.append((self.tokens + len(chunk.token_ids), self.seconds + seconds))
        if finish is not None:
            self.outputs.append(tuple(sequence.tokens[sequence.num_prompt_tokens :]))
            self._drafters.release(sequence)
            self._cache.free(sequence.slot)
            self._sequence = None


def run_anti_workload(
    stage: Stage, delta: Path | None, report: Callable[[str], None], *, seconds: float
) -> AntiWorkload:
    """At least `seconds` of each arm's own clock. `delta`: a version that was learned from quite different traffic."""
    prompts = [stage.encode([{"role": "user", "content": text}], _MAX_TOKENS) for text in CREATIVE]
    static = _Arm(stage, "static", None)
    # Both arms begin with the same measured table: a second sweep in another moment would measure the machine's noise.
    adaptive = _Arm(stage, "adaptive", delta, static.table)
    seed = 0
    while static.seconds < seconds:
        for arm in (static, adaptive):
            arm.begin(prompts[seed % len(prompts)], seed)
        while static.is_busy or adaptive.is_busy:
            behind = static.tokens < adaptive.tokens or (static.tokens == adaptive.tokens and seed % 2 == 0)
            arm = static if static.is_busy and (behind or not adaptive.is_busy) else adaptive
            arm.step()
        seed += 1
        if seed % 4 == 0:
            report(f"{static.tokens} tokens: static {static.seconds:.1f} s, adaptive {adaptive.seconds:.1f} s")
    equal = sum(one == other for one, other in zip(static.outputs, adaptive.outputs, strict=True))
    return AntiWorkload(
        windows=tuple(windows(static.timeline, adaptive.timeline)),
        tokens=static.tokens,
        seconds={"static": static.seconds, "adaptive": adaptive.seconds},
        equal_outputs=equal / len(static.outputs),
    )
