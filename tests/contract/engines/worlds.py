"""Each engine with the same tiny target model, and what the target says without speculation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from dataplane.contracts import LoadedVersion
from dataplane.engines.base import Engine, GenerationChunk, GenerationRequest, SpeculationStats
from dataplane.engines.embedded import EmbeddedEngine
from dataplane.models.generate import generate_batch
from dataplane.models.llama import LlamaModel
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.checkpoint import EagleConfig, save_checkpoint
from dataplane.speculation.drafters.eagle import EagleDrafter
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.registry import Desired, DrafterSet
from dataplane.speculation.types import SamplingParams, SpeculationPolicy
from tests.contract.engines.fake_engine import FakeEngine
from tests.dataplane.speculation.eagle_worlds import tiny_checkpoint
from tests.dataplane.training.tiny_target import HIDDEN, VOCABULARY, write_tiny_target
from tests.fakes import FakeTarget

ROOT = Path(__file__).parents[3]
MAX_CONTEXT = 300
TOKENS = 40
# Two that share a long prefix, one of its own, one of a single token.
SYSTEM = tuple(5 + 7 * position % 80 for position in range(24))
PROMPTS: tuple[tuple[int, ...], ...] = ((*SYSTEM, 3, 9), (*SYSTEM, 4, 9, 11), (40, 41, 42, 40, 41), (7,))
# After these the tiny target says mostly the same word: traffic that a small delta learns.
REPEATED = tuple((40, 41, 42, 40, 41, 1 + 2 * number) for number in range(40))
# SGLang on a CPU: fp32, the plain PyTorch attention.
CPU_ARGUMENTS: Mapping[str, Any] = {
    "device": "cpu",
    "attention_backend": "torch_native",
    "dtype": "float32",
    "max_total_tokens": 4096,
    "mem_fraction_static": 0.3,
    "disable_cuda_graph": True,
    "log_level": "error",
}
EAGLE = EagleConfig(
    hidden_size=HIDDEN,
    intermediate_size=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    target_vocab_size=VOCABULARY,
    draft_vocab_size=80,
    feature_layers=(0, 1, 2),
    rope_theta=1000.0,
    max_position_embeddings=512,
)


class LearningEngine(Engine, Protocol):
    """An engine as a node uses it."""

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]: ...
    def forget(self, project_id: str) -> None: ...


@dataclass(frozen=True)
class World:
    kind: str
    engine: LearningEngine
    truth: Mapping[tuple[int, ...], tuple[int, ...]]  # greedy continuations without speculation
    stop: Callable[[], None]


@dataclass
class Answer:
    tokens: list[int] = field(default_factory=list)
    chunks: list[GenerationChunk] = field(default_factory=list)

    @property
    def finish_reason(self) -> str | None:
        return self.chunks[-1].finish_reason

    @property
    def stats(self) -> SpeculationStats:
        stats = self.chunks[-1].stats
        assert stats is not None
        return stats

    @property
    def acceptance_length(self) -> float:
        return 1 + self.stats.accepted / self.stats.steps


def request(
    request_id: str,
    prompt: Sequence[int],
    max_tokens: int = TOKENS,
    *,
    project: str = "prj_a",
    mode: str = "adaptive",
    max_lookahead: int = 8,
    remember: bool = False,
    sampling: SamplingParams | None = None,
    stop: tuple[int, ...] = (),
    num_logprobs: int | None = None,
) -> GenerationRequest:
    policy = SpeculationPolicy(mode, max_lookahead, remember)  # type: ignore[arg-type]
    return GenerationRequest(
        request_id,
        project,
        f"dep_{project}",
        f"salt_{project}",
        tuple(prompt),
        max_tokens,
        sampling or SamplingParams(),
        policy,
        stop,
        ignore_eos=True,
        num_logprobs=num_logprobs,
    )


async def ask(engine: Engine, wanted: GenerationRequest) -> Answer:
    answer = Answer()
    async for chunk in engine.generate(wanted):
        answer.tokens.extend(chunk.token_ids)
        answer.chunks.append(chunk)
    return answer


def write_target(folder: Path) -> Path:
    folder.mkdir()
    return write_tiny_target(folder)


def write_static(folder: Path) -> Path:
    save_checkpoint(folder, EAGLE, tiny_checkpoint(7, torch.bfloat16, EAGLE).tensors)
    return folder


def fake_world() -> World:
    target = FakeTarget(VOCABULARY)

    def continued(prompt: tuple[int, ...]) -> tuple[int, ...]:
        tokens = list(prompt)
        for _ in range(TOKENS):
            tokens.append(int(target.logits(tokens).argmax()))
        return tuple(tokens[len(prompt) :])

    truth = {prompt: continued(prompt) for prompt in PROMPTS}
    return World("fake", FakeEngine(target, VOCABULARY), truth, lambda: None)


class _LargeTarget(LatencyTable):
    """A draft costs more than a forward of the tiny target: this table stays that of a large one."""

    def observe(self, **measured: float) -> None:
        pass


class _Embedded(EmbeddedEngine):
    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        return self.drafters.refresh(desired)


def embedded_world(target: Path, static: Path) -> World:
    plain = LlamaModel.load(target)
    found = generate_batch(
        plain, [list(one) for one in PROMPTS], max_new_tokens=TOKENS, stop_token_ids=(), max_context=MAX_CONTEXT
    )
    truth = {PROMPTS[one.index]: tuple(one.tokens) for one in found}
    model = LlamaModel.load(target, feature_layers=EAGLE.feature_layers)
    drafter = EagleDrafter.load(static, model.embedding, num_slots=4, max_context=MAX_CONTEXT)
    engine = _Embedded(
        model,
        DrafterSet(drafter, vocab_size=VOCABULARY),
        Controller(_LargeTarget()),
        num_slots=4,
        max_context=MAX_CONTEXT,
        threads=1,
    )
    engine.start(sweep=False)
    return World("embedded", engine, truth, engine.stop)


def sglang_world(target: Path, static: Path, truth: Mapping[tuple[int, ...], tuple[int, ...]]) -> World:
    from dataplane.engines.sgl.engine import SGLangEngine

    with plugins("slipstream", "cpu_shim", "large_target"):
        engine = SGLangEngine(
            target, static=static, num_slots=4, max_context=MAX_CONTEXT, start_seconds=900, server_args=CPU_ARGUMENTS
        )
    return World("sglang", engine, truth, engine.stop)


@contextmanager
def plugins(*names: str) -> Iterator[None]:
    """Processes of SGLang that are started meanwhile load these plugins of all that are installed."""
    before = os.environ["SGLANG_PLUGINS"]
    os.environ["SGLANG_PLUGINS"] = ",".join(names)
    try:
        yield
    finally:
        os.environ["SGLANG_PLUGINS"] = before


def eagle3(static: Path, num_steps: int = 3) -> dict[str, Any]:
    """Arguments of SGLang's own EAGLE-3 with our checkpoint: chains, as the test shim knows them."""
    return {
        "speculative_algorithm": "EAGLE3",
        "speculative_draft_model_path": str(static),
        "speculative_num_steps": num_steps,
        "speculative_eagle_topk": 1,
        "speculative_num_draft_tokens": num_steps + 1,
    }


def stock(
    model: Path,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    *arguments: Mapping[str, Any],
    draft: Path | None = None,
) -> list[dict[str, Any]]:
    """What an unmodified SGLang says with each set of arguments, our plugin not loaded; see `stock.py`.

    `draft`: the last one's draft becomes this checkpoint's while it serves.
    """
    work = [
        {
            "arguments": {
                **CPU_ARGUMENTS,
                "model_path": str(model),
                "skip_tokenizer_init": True,
                "context_length": 256,  # a draft's own limit may be below its target's
                "disable_overlap_schedule": True,
                **one,
            },
            "prompts": [list(prompt) for prompt in prompts],
            "max_tokens": max_tokens,
            "draft": None if draft is None or one is not arguments[-1] else str(draft),
        }
        for one in arguments
    ]
    child = subprocess.run(
        [sys.executable, "-m", "tests.contract.engines.stock"],
        cwd=ROOT,
        env={**os.environ, "SGLANG_PLUGINS": "cpu_shim"},
        input=json.dumps(work),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    lines = [line for line in child.stdout.splitlines() if line.startswith("reports ")]
    assert lines, child.stderr[-3000:]
    reports: list[dict[str, Any]] = json.loads(lines[-1].removeprefix("reports "))
    return reports
