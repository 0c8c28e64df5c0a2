"""Every prompt by every source in every company, compared with a plain loop that knows nothing of speculation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from dataplane.engines.base import GenerationChunk, GenerationRequest
from dataplane.engines.embedded import EmbeddedEngine
from dataplane.models.generate import generate_batch
from dataplane.models.llama import LlamaModel
from dataplane.speculation.registry import Desired
from dataplane.speculation.types import Mode, SpeculationPolicy

SOURCES = ("off", "static", "memory", "adaptive", "swap")
COMPANIES = ("alone", "4 together", "8 together", "8 mixed")
_MODES: Mapping[str, Mode] = {
    "off": "off", "static": "static", "memory": "adaptive", "adaptive": "adaptive", "swap": "adaptive",
}  # fmt: skip
_SHOWN = 5  # differences that are kept of each cell
_PROJECT = "lossless"


@dataclass(slots=True)
class Cell:
    """One source in one company."""

    requests: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    swaps: int = 0  # versions that arrived while a request ran
    different: int = 0
    first: list[tuple[int, int]] = field(default_factory=list)  # (prompt, position) of the first differences


@dataclass(frozen=True, slots=True)
class Engines:
    """`full` has all drafters, `memory` has no neural one. Both serve the same model, with at least 8 slots."""

    full: EmbeddedEngine
    memory: EmbeddedEngine
    deltas: tuple[Path, Path]  # two versions of a delta, which a swap exchanges


class Grid:
    """Cells by (source, company); `check` adds a group of prompts to all of them."""

    def __init__(self, model: LlamaModel, engines: Engines, *, max_tokens: int, max_lookahead: int = 8) -> None:
        self.cells = {(source, company): Cell() for source in SOURCES for company in COMPANIES}
        self._model, self._engines = model, engines
        self._max_tokens, self._max_lookahead = max_tokens, max_lookahead
        self._numbers = count()

    @property
    def different(self) -> int:
        return sum(cell.different for cell in self.cells.values())

    def check(self, prompts: Mapping[int, Sequence[int]]) -> None:
        """At most 8 prompts by their numbers."""
        expected = {number: self._plain(prompt) for number, prompt in prompts.items()}
        numbers = list(prompts)
        for source in SOURCES:
            for company, size in (("alone", 1), ("4 together", 4), ("8 together", 8)):
                for start in range(0, len(numbers), size):
                    group = numbers[start : start + size]
                    self._run(company, [(source, number, prompts[number]) for number in group], expected)
        mixed = [(SOURCES[(place + numbers[0]) % len(SOURCES)], number) for place, number in enumerate(numbers)]
        # The memory-only engine is another one: in mixed company its requests ask the full one for no neural draft.
        self._run("8 mixed", [(source, number, prompts[number]) for source, number in mixed], expected)

    def _plain(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """The model's own loop, one token a forward, alone."""
        one = next(generate_batch(self._model, [prompt], max_new_tokens=self._max_tokens, num_slots=1))
        return one.tokens

    def _run(
        self,
        company: str,
        asked: Sequence[tuple[str, int, Sequence[int]]],
        expected: Mapping[int, tuple[int, ...]],
    ) -> None:
        jobs = []
        for source, number, prompt in asked:
            engine = self._engines.memory if source == "memory" and company != "8 mixed" else self._engines.full
            swap = self._swap if source == "swap" else None
            job = _Job(source, number, swap)
            request = GenerationRequest(
                request_id=f"lossless-{next(self._numbers)}",
                project_id=_PROJECT,
                deployment_id=_PROJECT,
                cache_salt=_PROJECT,
                prompt_tokens=tuple(prompt),
                max_tokens=self._max_tokens,
                speculation=SpeculationPolicy(_MODES[source], self._max_lookahead, remember=True),
            )
            engine.submit(request, job.deliver)
            jobs.append(job)
        for job in jobs:
            job.wait()
            self._count(self.cells[job.source, company], job, expected[job.number])

    def _count(self, cell: Cell, job: _Job, expected: tuple[int, ...]) -> None:
        cell.requests += 1
        cell.tokens += len(job.tokens)
        cell.drafted += job.drafted
        cell.accepted += job.accepted
        cell.swaps += job.swaps
        if tuple(job.tokens) != expected:
            cell.different += 1
            pairs = zip(job.tokens, expected, strict=False)
            place = next((at for at, (one, two) in enumerate(pairs) if one != two), min(len(job.tokens), len(expected)))
            if len(cell.first) < _SHOWN:
                cell.first.append((job.number, place))

    def _swap(self, number: int) -> None:
        """Another version for the deployment; the engine takes it over at its next step boundary."""
        path = self._engines.deltas[number % 2]
        self._engines.full.drafters.refresh({_PROJECT: Desired(_PROJECT, f"{_PROJECT}-{number % 2}", path)})


class _Job:
    """Collects one request; with `swap`, versions change after its first tokens and again in its middle."""

    def __init__(self, source: str, number: int, swap: Callable[[int], None] | None) -> None:
        self.source, self.number = source, number
        self.tokens: list[int] = []
        self.drafted = self.accepted = self.swaps = 0
        self._swap = swap
        self._error: str | None = None
        self._done = threading.Event()

    def deliver(self, chunk: GenerationChunk) -> None:
        """In the engine's thread, between two steps."""
        self.tokens.extend(chunk.token_ids)
        if self._swap is not None and chunk.finish_reason is None and len(self.tokens) >= 1 + 8 * self.swaps:
            self._swap(self.number + self.swaps)
            self.swaps += 1
        if chunk.finish_reason is not None:
            if chunk.stats is not None:
                self.drafted, self.accepted = chunk.stats.drafted, chunk.stats.accepted
            self._error = chunk.error
            self._done.set()

    def wait(self) -> None:
        """Raises RuntimeError if the engine failed."""
        self._done.wait()
        if self._error is not None:
            raise RuntimeError(self._error)
