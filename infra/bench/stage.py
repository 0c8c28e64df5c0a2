"""The real model, the real drafters and the embedded engine in this process; one request at a time, timed."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dataplane.engines.base import GenerationChunk, GenerationRequest, SpeculationStats
from dataplane.engines.embedded import EmbeddedEngine, EmbeddedTarget
from dataplane.engines.embedded.engine import PREFILL_CHUNK
from dataplane.engines.embedded.prefix_cache import PrefixChunk
from dataplane.models.llama import LlamaModel
from dataplane.models.tokenizer import Tokenizer
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.checkpoint import EagleCheckpoint, load_checkpoint
from dataplane.speculation.drafters.eagle import EagleDrafter
from dataplane.speculation.registry import DrafterSet, Tiers
from dataplane.speculation.types import Mode, SpeculationPolicy
from infra.demo.workloads import Message

MAX_LOOKAHEAD = 8  # what an endpoint has by default
MAX_CONTEXT = 1024
NUM_SLOTS = 8
_READ_PROMPTS = 16
ALL_TIERS = Tiers()
MODES: tuple[Mode, ...] = ("off", "static", "adaptive")


@dataclass(frozen=True, slots=True)
class Run:
    """One finished request."""

    mode: Mode
    prompt_tokens: int
    tokens: tuple[int, ...]
    seconds: float  # the whole request
    tokens_per_second: float  # of decoding: tokens after the first step by the time they took
    stats: SpeculationStats

    @property
    def acceptance_length(self) -> float:
        return 1 + self.stats.accepted / self.stats.steps if self.stats.steps else 1.0

    @property
    def step_seconds(self) -> float:
        return self.stats.control_seconds + self.stats.draft_seconds + self.stats.target_seconds


class Stage:
    """Loads everything once. `engine` serves all modes, as a node does."""

    def __init__(
        self, model_folder: Path, static_folder: Path, *, threads: int = 0, sweep: bool = True, in_bytes: bool = False
    ) -> None:
        """Not `sweep`: the latency table starts from its defaults, for those who measure no speed. `in_bytes`: the
        target's weights have 8 bits."""
        self.threads = threads or os.cpu_count() or 1
        torch.set_num_threads(self.threads)
        self.model_folder, self.static_folder = model_folder, static_folder
        self.checkpoint: EagleCheckpoint = load_checkpoint(static_folder)
        self.model = LlamaModel.load(
            model_folder, feature_layers=self.checkpoint.config.feature_layers, in_bytes=in_bytes
        )
        self.tokenizer = Tokenizer.load(model_folder)
        self._static = EagleDrafter(self.checkpoint, self.model.embedding, num_slots=1, max_context=MAX_CONTEXT)
        self.drafters = self.new_drafters(num_slots=NUM_SLOTS)
        self.controller = Controller()
        self.engine = EmbeddedEngine(
            self.model,
            self.drafters,
            self.controller,
            num_slots=NUM_SLOTS,
            max_context=MAX_CONTEXT,
            threads=self.threads,
        )
        self.engine.start(sweep=sweep)
        # All arms start with the same table: a sweep in another moment would measure the machine's noise.
        self.table = copy.deepcopy(self.controller.table)
        self._count = 0
        self._reader = self.model.new_cache(1, MAX_CONTEXT)
        self._read: dict[tuple[int, tuple[int, ...]], tuple[LlamaModel, PrefixChunk]] = {}  # a model keeps its id

    def new_drafters(self, *, num_slots: int, static: bool = True, tiers: Tiers = ALL_TIERS) -> DrafterSet:
        """All drafters, or without the static one (and the deltas on it), or without some of the tiers."""
        # One set of weights, as on a node: a set for each arm would push the others' out of the processor's caches.
        eagle = self._static.sibling(num_slots=num_slots) if static else None
        return DrafterSet(eagle, vocab_size=self.model.config.vocab_size, tiers=tiers)

    def read_prompt(self, model: LlamaModel, prompt: tuple[int, ...]) -> PrefixChunk:
        """Keys, values and features of all but the prompt's last token, computed once for all arms."""
        key = (id(model), prompt)
        if key not in self._read:
            while len(self._read) >= _READ_PROMPTS:
                del self._read[next(iter(self._read))]
            slot = self._reader.allocate()
            target = EmbeddedTarget(model, self._reader)
            starts = range(0, len(prompt) - 1, PREFILL_CHUNK)
            features = [target.prefill(slot, prompt[at : min(at + PREFILL_CHUNK, len(prompt) - 1)]) for at in starts]
            keys_values = self._reader.read(slot, 0, len(prompt) - 1)
            self._read[key] = (model, PrefixChunk(keys_values, torch.cat(features) if features else torch.empty(0)))
            self._reader.free(slot)
        return self._read[key][1]

    def encode(self, messages: Sequence[Message], max_tokens: int) -> tuple[int, ...]:
        """The chat as prompt tokens, cut at its beginning where prompt and answer would not fit."""
        tokens = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True)
        return tuple(tokens[-(MAX_CONTEXT - max_tokens) :])

    def run(self, prompt: Sequence[int], mode: Mode, *, tenant: str, max_tokens: int, remember: bool = False) -> Run:
        """One greedy request, alone."""
        return self.run_together([prompt], mode, tenant=tenant, max_tokens=max_tokens, remember=remember)[0]

    def run_together(
        self, prompts: Sequence[Sequence[int]], mode: Mode, *, tenant: str, max_tokens: int, remember: bool = False
    ) -> list[Run]:
        """Greedy requests at the same time, batched by the engine."""
        jobs = [_Job(len(prompt), mode) for prompt in prompts]
        for prompt, job in zip(prompts, jobs, strict=True):
            self._count += 1
            request = GenerationRequest(
                request_id=f"bench-{self._count}",
                project_id=tenant,
                deployment_id=tenant,
                cache_salt=tenant,
                prompt_tokens=tuple(prompt),
                max_tokens=max_tokens,
                speculation=SpeculationPolicy(mode, MAX_LOOKAHEAD, remember),
            )
            self.engine.submit(request, job.deliver)
        return [job.wait() for job in jobs]

    def close(self) -> None:
        self.engine.stop()


class _Job:
    """Collects one request's chunks; `deliver` runs in the engine's thread."""

    def __init__(self, prompt_tokens: int, mode: Mode) -> None:
        self._prompt_tokens = prompt_tokens
        self._mode = mode
        self._started = time.perf_counter()
        self._arrivals: list[tuple[float, int]] = []
        self._tokens: list[int] = []
        self._last: GenerationChunk | None = None
        self._done = threading.Event()

    def deliver(self, chunk: GenerationChunk) -> None:
        if chunk.token_ids:
            self._arrivals.append((time.perf_counter(), len(chunk.token_ids)))
            self._tokens.extend(chunk.token_ids)
        if chunk.finish_reason is not None:
            self._last = chunk
            self._done.set()

    def wait(self) -> Run:
        self._done.wait()
        assert self._last is not None
        assert self._last.stats is not None
        if self._last.finish_reason == "error":
            raise RuntimeError(self._last.error)
        (first, head), (last, _) = self._arrivals[0], self._arrivals[-1]
        decoded = len(self._tokens) - head
        return Run(
            mode=self._mode,
            prompt_tokens=self._prompt_tokens,
            tokens=tuple(self._tokens),
            seconds=last - self._started,
            tokens_per_second=decoded / (last - first) if decoded else len(self._tokens) / (last - self._started),
            stats=self._last.stats,
        )
