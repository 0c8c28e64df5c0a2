"""The embedded engine on a GPU, plain, with the static drafter and adapted: kernels/bench/engine.py

    plain      no speculation, every forward launched kernel by kernel
    graphs     no speculation, forwards in CUDA graphs
    static     the static drafter's chains verified, forwards in CUDA graphs
    adapted    and the project's memory after one round of the workload, with a trained delta if one is given

Per arm: tokens per second of decoding, one request at a time and as many at once as there are slots, the acceptance
length, and the share of texts that equal those of the plain arm (on a GPU the order of a sum depends on the number of
rows: bf16 texts may part where two tokens are nearly as likely).

Without a GPU it runs a reduced form on the CPU: the same code, a few tokens, replays rehearsed without graphs. That
shows that the bench works and that texts are equal, says so in the file, and holds no figure of speed. Writes JSON
under the date.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dataplane.engines.base import GenerationRequest, SpeculationStats
from dataplane.engines.embedded import EmbeddedEngine
from dataplane.models.graphs import GraphedLlama, rehearsal
from dataplane.models.llama import LlamaModel
from dataplane.models.tokenizer import Tokenizer
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.speculation.drafters.eagle import EagleDrafter
from dataplane.speculation.registry import Desired, DrafterSet
from dataplane.speculation.types import Mode, SpeculationPolicy
from infra.bench.machine import Machine

REPOSITORY = Path(__file__).parents[2]
ARMS: dict[str, Mode] = {"plain": "off", "graphs": "off", "static": "static", "adapted": "adaptive"}
TEXTS = (
    "Write a reply to a customer whose parcel is late.",
    "Write a reply to a customer who wants a refund.",
    "List the steps to reset a password, one per line.",
    "Repeat this line three times: The quick brown fox jumps over the lazy dog.",
    "Write an SQL query that counts orders by month.",
    "Write an SQL query that lists customers without orders.",
    "Count from 1 to 20, one number per line.",
    "Explain in three sentences what a hash table is.",
)
SLOTS, CONTEXT = 8, 512


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    tokens: tuple[int, ...]
    stats: SpeculationStats


def new_engine(arm: str, model_folder: Path, static: Path, delta: Path | None, device: str) -> EmbeddedEngine:
    """An engine whose latencies were swept, as a node starts it."""
    checkpoint = load_checkpoint(static)
    kind = LlamaModel if arm == "plain" else GraphedLlama
    model = kind.load(
        model_folder, device, feature_layers=checkpoint.config.feature_layers, max_context=CONTEXT, native=False
    )
    if isinstance(model, GraphedLlama) and device == "cpu":
        model.capture = rehearsal
    drafter = EagleDrafter(checkpoint, model.embedding, num_slots=SLOTS, max_context=CONTEXT)
    drafters = DrafterSet(drafter, vocab_size=model.config.vocab_size)
    if delta is not None:
        (loaded,) = drafters.refresh({"bench": Desired("prj_bench", "spv_bench", delta, "end_bench")})
        if loaded.state != "loaded":
            raise ValueError(f"{delta}: {loaded.reason}")
    engine = EmbeddedEngine(model, drafters, Controller(), num_slots=SLOTS, max_context=CONTEXT)
    engine.start(sweep=device != "cpu")
    return engine


async def answer(engine: EmbeddedEngine, name: str, prompt: Sequence[int], mode: Mode, max_tokens: int) -> Answer:
    """One greedy request, which the project's memory learns from."""
    request = GenerationRequest(
        name, "prj_bench", "bench", "salt", tuple(prompt), max_tokens,
        speculation=SpeculationPolicy(mode, 8, remember=mode == "adaptive"), ignore_eos=True,
    )  # fmt: skip
    tokens: list[int] = []
    stats = None
    async for chunk in engine.generate(request):
        tokens += chunk.token_ids
        stats = chunk.stats or stats
    assert stats is not None, "the last chunk has them"
    return Answer(tuple(tokens), stats)


async def run(engine: EmbeddedEngine, prompts: Sequence[Sequence[int]], mode: Mode, max_tokens: int) -> dict[str, Any]:
    """One round that is not timed (it captures graphs and fills the memory), one request by request, one together."""
    for index, prompt in enumerate(prompts):
        await answer(engine, f"warm-{index}", prompt, mode, max_tokens)
    await asyncio.gather(*(answer(engine, f"batch-{i}", prompt, mode, max_tokens) for i, prompt in enumerate(prompts)))
    alone = [await answer(engine, f"alone-{i}", prompt, mode, max_tokens) for i, prompt in enumerate(prompts)]
    started = time.perf_counter()
    together = await asyncio.gather(
        *(answer(engine, f"together-{i}", prompt, mode, max_tokens) for i, prompt in enumerate(prompts))
    )
    seconds = time.perf_counter() - started
    steps = sum(one.stats.steps for one in alone)
    decoding = sum(one.stats.decode_seconds for one in alone)
    return {
        "texts": [one.tokens for one in alone],
        "together": [one.tokens for one in together],
        "acceptance_length": round(1 + sum(one.stats.accepted for one in alone) / steps, 3),
        "accepted_by_source": {
            source: sum(one.stats.accepted_by_source.get(source, 0) for one in alone)
            for source in ("static", "adaptive", "memory")
        },
        "tokens_per_second": round(sum(len(one.tokens) - 1 for one in alone) / decoding, 1),
        "tokens_per_second_together": round(sum(len(one.tokens) for one in together) / seconds, 1),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=REPOSITORY / "var/models/smollm2-135m-instruct")
    parser.add_argument(
        "--static", type=Path, default=REPOSITORY / "dataplane/checkpoints/smollm2-135m-instruct-eagle3"
    )
    parser.add_argument("--delta", type=Path, help="a trained delta for the adapted arm")
    parser.add_argument("--tokens", type=int, help="of an answer")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "kernels/bench/results", help="folder for the JSON file"
    )
    options = parser.parse_args(argv)
    has_gpu = torch.cuda.is_available()
    device = "cuda" if has_gpu else "cpu"
    tokenizer = Tokenizer.load(options.model)
    texts = TEXTS if has_gpu else TEXTS[3:5]
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": text}]) for text in texts]
    machine = Machine.now(REPOSITORY)
    found: dict[str, dict[str, Any]] = {}
    for arm, mode in ARMS.items():
        engine = new_engine(arm, options.model, options.static, options.delta if arm == "adapted" else None, device)
        try:
            found[arm] = asyncio.run(run(engine, prompts, mode, options.tokens or (128 if has_gpu else 12)))
        finally:
            engine.stop()
    plain = found["plain"]["texts"]
    for report in found.values():
        both = [*zip(report.pop("texts"), plain, strict=True), *zip(report.pop("together"), plain, strict=True)]
        report["share_equal"] = sum(one == other for one, other in both) / len(both)
        if not has_gpu:
            del report["tokens_per_second"], report["tokens_per_second_together"]
    report = {
        "form": "GPU" if has_gpu else "CPU form: a few tokens, graphs rehearsed, checked and not timed",
        "device": torch.cuda.get_device_name() if has_gpu else machine.processor,
        "command": ["python", "kernels/bench/engine.py", *argv],
        "machine": dataclasses.asdict(machine),
        "delta": None if options.delta is None else options.delta.name,
        "arms": found,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"engine-{'gpu' if has_gpu else 'cpu'}-{machine.started_at[:10]}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(path)
    return 0 if has_gpu or all(arm["share_equal"] == 1 for arm in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
