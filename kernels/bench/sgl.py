"""SGLang with our plugin beside SGLang as it is: kernels/bench/sgl.py, in an environment that has SGLang

    plain      an unmodified SGLang, no speculation
    eagle3     an unmodified SGLang, its own EAGLE-3 with our static checkpoint
    static     our plugin, the static drafter alone
    adapted    our plugin and the project's memory, which has seen every answer; with a trained delta if one is given

The engines stay up together, each in a process of its own, and take turns: per batch size a round that is not counted
(it captures graphs and fills the memory), then rounds in which every arm answers the same prompts greedily, that many
at once. Medians of the rounds: tokens per second, prefill included (the prefix cache all but removes it), and their
ratio to plain in the same round. The acceptance length is tokens after the first per forward after the first. Texts are
compared with plain's: on a GPU the order of a sum depends on the number of rows, and bf16 texts may part where two
tokens are nearly as likely, plain's own too.

Without a GPU, or where the tests' shim stands for SGLang's compiled kernels, it runs a reduced form: a tiny random
model on the CPU, a few tokens. That shows that the bench works and that texts are equal, says so in the file, and holds
no figure of speed; the drafter is random, so our controller all but gives it up. Writes JSON under the date.

A GPU needs an environment with SGLang's own build, and our plugin in it (pip install -e infra/sglang):
make bench-kernels SGLANG_PYTHON=…/bin/python

The file is not called sglang.py: it would hide SGLang from every script in this folder.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import importlib.metadata
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dataplane.engines.base import GenerationRequest
from dataplane.speculation.registry import Desired
from dataplane.speculation.types import Mode, SpeculationPolicy
from infra.bench.machine import Machine

REPOSITORY = Path(__file__).parents[2]
# Arm -> the engine that serves it and, in ours, the mode of its requests.
ARMS: dict[str, tuple[str, Mode]] = {
    "plain": ("plain", "off"),
    "eagle3": ("eagle3", "off"),
    "static": ("plugin", "static"),
    "adapted": ("plugin", "adaptive"),
}
TASKS = ("Write a reply about", "List five facts, one per line, about", "Write an SQL query about", "Explain briefly")
SUBJECTS = ("a late parcel", "a refund", "a password", "monthly orders", "a broken cup", "a bill", "a tree", "the moon")
Prompts = Sequence[Sequence[int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    tokens: tuple[int, ...]
    steps: int  # forwards after the first token
    drafted: int


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
    """What the engines share."""

    model: Path
    static: Path
    delta: Path | None
    on_cpu: bool  # with the tests' plugins, which let SGLang serve there
    arguments: Mapping[str, Any]  # SGLang's
    batches: tuple[int, ...]
    max_context: int
    lookahead: int


class Unmodified:
    """SGLang's own engine, driven as our node drives it: a stream per request."""

    def __init__(self, setup: Setup, *, eagle3: bool) -> None:
        from sglang.srt.entrypoints.engine import Engine

        self._lookahead = setup.lookahead if eagle3 else 0
        speculation = {
            "speculative_algorithm": "EAGLE3",
            "speculative_draft_model_path": str(setup.static),
            "speculative_num_steps": setup.lookahead,
            "speculative_eagle_topk": 1,
            "speculative_num_draft_tokens": setup.lookahead + 1,
        }
        self._engine = Engine(
            model_path=str(setup.model), skip_tokenizer_init=True, max_running_requests=max(setup.batches),
            context_length=setup.max_context, **(speculation if eagle3 else {}), **setup.arguments,
        )  # fmt: skip
        self.loop: asyncio.AbstractEventLoop = self._engine.loop
        self.stop = self._engine.shutdown

    async def answer(self, prompt: Sequence[int], mode: Mode, max_tokens: int) -> Answer:
        sampling = {"temperature": 0, "max_new_tokens": max_tokens, "ignore_eos": True}
        stream = await self._engine.async_generate(input_ids=list(prompt), sampling_params=sampling, stream=True)
        last = [output async for output in stream][-1]
        tokens = tuple(last["output_ids"])
        steps = last["meta_info"].get("spec_verify_ct", len(tokens) - 1)
        return Answer(tokens, steps, steps * self._lookahead)


class WithPlugin:
    """SGLang as a node of ours runs it."""

    def __init__(self, setup: Setup) -> None:
        from dataplane.engines.sgl.engine import SGLangEngine

        self._lookahead, self._numbers = setup.lookahead, itertools.count()
        self._engine = SGLangEngine(
            setup.model, static=setup.static, num_slots=max(setup.batches), max_context=setup.max_context,
            max_lookahead=setup.lookahead, server_args=setup.arguments,
        )  # fmt: skip
        if setup.delta is not None:
            (loaded,) = self._engine.refresh({"bench": Desired("prj_bench", "spv_bench", setup.delta, "end_bench")})
            if loaded.state != "loaded":
                raise ValueError(f"{setup.delta}: {loaded.reason}")
        self.loop = asyncio.new_event_loop()
        self.stop = self._engine.stop

    async def answer(self, prompt: Sequence[int], mode: Mode, max_tokens: int) -> Answer:
        request = GenerationRequest(
            f"req_{next(self._numbers)}", "prj_bench", "bench", "salt", tuple(prompt), max_tokens, ignore_eos=True,
            speculation=SpeculationPolicy(mode, self._lookahead, remember=mode == "adaptive"),
        )  # fmt: skip
        chunks = [chunk async for chunk in self._engine.generate(request)]
        stats = chunks[-1].stats
        assert stats is not None and chunks[-1].finish_reason == "length", chunks[-1]
        # Ours counts the prompt's forward too, whose token it verifies as any other.
        return Answer(tuple(token for one in chunks for token in one.token_ids), stats.steps - 1, stats.drafted)


def serve(pipe: Connection, kind: str, setup: Setup) -> None:
    """The child process: an engine that answers until it is told None."""
    engine = WithPlugin(setup) if kind == "plugin" else Unmodified(setup, eagle3=kind == "eagle3")

    async def together(prompts: Prompts, mode: Mode, max_tokens: int) -> list[Answer]:
        return list(await asyncio.gather(*(engine.answer(prompt, mode, max_tokens) for prompt in prompts)))

    pipe.send(None)
    while (work := pipe.recv()) is not None:
        started = time.perf_counter()
        answers = engine.loop.run_until_complete(together(*work))
        pipe.send((time.perf_counter() - started, answers))
    engine.stop()


class Served:
    """An engine in a process of its own: SGLang ends by ending all children of its process."""

    def __init__(self, kind: str, setup: Setup) -> None:
        """Returns when it is up. Raises EOFError if it does not come up: its output says why."""
        wanted = ["cpu_shim"] if setup.on_cpu else []
        if kind == "plugin":
            wanted += ["slipstream", *(["large_target"] if setup.on_cpu else [])]
        os.environ["SGLANG_PLUGINS"] = ",".join(wanted) or "none"  # if it is empty, SGLang loads all that it finds
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, kind, setup))
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def together(self, prompts: Prompts, mode: Mode, max_tokens: int) -> tuple[float, list[Answer]]:
        """Seconds from the first prompt to the last token, and the answers. Raises EOFError if the engine has died."""
        self._pipe.send((prompts, mode, max_tokens))
        found: tuple[float, list[Answer]] = self._pipe.recv()
        return found

    def stop(self) -> None:
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()


def measure(served: Mapping[str, Served], prompts: Prompts, batch: int, rounds: int, max_tokens: int) -> dict[str, Any]:
    """One batch size: a round that is not counted, then `rounds`, each beginning with another arm."""
    groups = [prompts[start : start + batch] for start in range(0, len(prompts), batch)]
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    answers: dict[str, list[Answer]] = {arm: [] for arm in ARMS}
    for number in range(1 + rounds):
        for arm in [*ARMS, *ARMS][number % len(ARMS) :][: len(ARMS)]:
            kind, mode = ARMS[arm]
            done = [served[kind].together(group, mode, max_tokens) for group in groups]
            if number:
                seconds[arm].append(sum(taken for taken, _ in done))
                answers[arm] += [answer for _, group in done for answer in group]
    texts = [answer.tokens for answer in answers["plain"][: len(prompts)]] * rounds
    report = {}
    for arm in ARMS:
        given, steps = answers[arm], sum(answer.steps for answer in answers[arm])
        ratios = [plain / own for own, plain in zip(seconds[arm], seconds["plain"], strict=True)]
        report[arm] = {
            "acceptance_length": round(sum(len(answer.tokens) - 1 for answer in given) / steps, 3),
            "drafted_per_step": round(sum(answer.drafted for answer in given) / steps, 3),
            "share_equal": sum(a.tokens == text for a, text in zip(given, texts, strict=True)) / len(given),
            "tokens_per_second": round(len(prompts) * max_tokens / median(seconds[arm]), 1),
            "ratio_to_plain": round(median(ratios), 3),
        }
    return report


def tiny(folder: Path) -> tuple[Setup, Prompts]:
    """The reduced form: what the contract tests serve on a CPU."""
    from tests.contract.engines import worlds

    os.environ |= {"SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": "1"}
    arguments = {**worlds.CPU_ARGUMENTS, "disable_overlap_schedule": True, "sleep_on_idle": True}
    target, static = worlds.write_target(folder / "target"), worlds.write_static(folder)
    return Setup(target, static, None, True, arguments, (1, 4), max_context=256, lookahead=3), worlds.PROMPTS


def real(options: argparse.Namespace) -> tuple[Setup, Prompts]:
    """On a GPU. The KV caches are bounded, so that three engines fit; --server-args win."""
    from dataplane.models.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(options.model)
    texts = [f"{task} {subject}." for task in TASKS for subject in SUBJECTS]
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": text}]) for text in texts]
    batches, context = (1, 8, 32), 512
    arguments = {"dtype": "bfloat16", "max_total_tokens": 2 * max(batches) * context, "sleep_on_idle": True,
                 "log_level": "warning", **options.server_args}  # fmt: skip
    setup = Setup(options.model, options.static, options.delta, False, arguments, batches, context, options.lookahead)
    return setup, prompts


def form() -> str:
    if not torch.cuda.is_available():
        return "CPU form, without a GPU: a tiny model, checked and not timed"
    kernels = find_spec("sgl_kernel")
    if kernels is None or "sglang_shim" in str(kernels.origin):
        return "CPU form, without SGLang's compiled kernels: a tiny model, checked and not timed"
    return "GPU"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    checkpoints, results = REPOSITORY / "dataplane/checkpoints", REPOSITORY / "kernels/bench/results"
    parser.add_argument("--model", type=Path, default=REPOSITORY / "var/models/smollm2-135m-instruct")
    parser.add_argument("--static", type=Path, default=checkpoints / "smollm2-135m-instruct-eagle3")
    parser.add_argument("--delta", type=Path, help="a trained delta for the adapted arm")
    parser.add_argument("--lookahead", type=int, default=5, help="drafts per verification, at most, of every arm")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    parser.add_argument("--server-args", type=json.loads, default={}, help="SGLang's further arguments, as JSON")
    parser.add_argument("--out", type=Path, default=results, help="folder of the JSON file")
    options = parser.parse_args(argv)
    which, machine = form(), Machine.now(REPOSITORY)
    on_gpu = which == "GPU"
    tokens, rounds = (options.tokens, 3) if on_gpu else (16, 1)
    engines: dict[str, Served] = {}
    with tempfile.TemporaryDirectory() as folder:
        setup, prompts = real(options) if on_gpu else tiny(Path(folder))
        try:
            for kind in ("plain", "eagle3", "plugin"):
                engines[kind] = Served(kind, setup)
            found = {batch: measure(engines, prompts, batch, rounds, tokens) for batch in setup.batches}
        finally:
            for engine in engines.values():
                engine.stop()
    arms = [(name, arm) for batch in found.values() for name, arm in batch.items()]
    for _, arm in [] if on_gpu else arms:
        del arm["tokens_per_second"], arm["ratio_to_plain"]
    report = {
        "form": which,
        "device": torch.cuda.get_device_name() if on_gpu else machine.processor,
        "command": ["python", "kernels/bench/sgl.py", *argv],
        "machine": dataclasses.asdict(machine),
        "sglang": importlib.metadata.version("sglang"),
        "model": setup.model.name if on_gpu else "tiny, random",
        "delta": None if setup.delta is None else setup.delta.name,
        "lookahead": setup.lookahead,
        "prompts": len(prompts),
        "tokens": tokens,
        "rounds": rounds,
        "batches": found,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"sgl-{'gpu' if on_gpu else 'cpu'}-{machine.started_at[:10]}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(path)
    remembered = all(arm["acceptance_length"] > 1 for name, arm in arms if name == "adapted")
    return 0 if on_gpu or (remembered and all(arm["share_equal"] == 1 for _, arm in arms)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
