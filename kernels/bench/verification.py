"""The accept step against the memory's speed and everybody else's kernels: kernels/bench/verification.py

    batch 1-128 x lookahead 1-8 x vocabulary 32k-152k x {greedy, sampled, filtered}, bfloat16 logits

Per cell, seconds of: the fused kernels in a CUDA graph; the floor, reading the logits once at the speed of a measured
copy; the same step in eager PyTorch and under torch.compile; FlashInfer's and SGLang's chain kernels, each from
the logits on (they take probabilities, so the softmax is part of it). What isn't installed is named with the reason.
Every cell also compares the fused tokens with the specification's.

Without a GPU it runs a reduced form on the CPU, in Triton's interpreter: the same code on tiny sizes. That shows that
the bench and the results' check work, says so in the file, and holds no figure of speed. Writes JSON under the date.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dataplane.speculation.types import SamplingParams
from infra.bench.machine import Machine

REPOSITORY = Path(__file__).parents[2]
KINDS = {
    "greedy": SamplingParams(),
    "sampled": SamplingParams(temperature=0.8, seed=7),
    "filtered": SamplingParams(temperature=0.8, top_k=50, top_p=0.9, seed=7),
}
GPU_CELLS = ((1, 4, 16, 32, 64, 128), (1, 3, 5, 8), (32_000, 128_256, 152_064))
CPU_CELLS = ((1, 3), (2,), (401,))
CHECKED_ROWS = 64  # the specification runs row by row: larger cells compare their first sequences only

Step = Callable[[], object]


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    kind: str
    batch: int
    lookahead: int
    vocabulary: int

    @property
    def num_rows(self) -> int:
        return self.batch * (self.lookahead + 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    """Logits of a model that is mostly sure, and drafts that are right about two times of three."""

    logits: torch.Tensor  # bfloat16 [R, V]
    drafts: torch.Tensor  # int64 [B, lookahead]

    @classmethod
    def of(cls, cell: Cell, device: torch.device) -> Inputs:
        generator = torch.Generator(device).manual_seed(cell.num_rows * cell.vocabulary)
        logits = torch.randn(cell.num_rows, cell.vocabulary, generator=generator, device=device)
        peaks = torch.randint(cell.vocabulary, (cell.num_rows,), generator=generator, device=device)
        logits.scatter_(1, peaks[:, None], 14.0)
        drafts = peaks.view(cell.batch, -1)[:, :-1].clone()
        wrong = torch.rand(drafts.shape, generator=generator, device=device) < 0.33
        drafts[wrong] = 0
        return cls(logits.bfloat16(), drafts)


def fused(cell: Cell, inputs: Inputs) -> tuple[Step, Callable[[], tuple[torch.Tensor, torch.Tensor]]]:
    """The step over prepared tables, and what it left behind: tokens and numbers of accepted drafts."""
    from spec_kernels.fused import verify
    from spec_kernels.tables import ChainTables, Layout, Workspace

    params, device = KINDS[cell.kind], inputs.logits.device
    samples = params.temperature > 0

    def filled(value: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.full((cell.batch,), value, dtype=dtype, device=device)

    tables = ChainTables(
        drafts=inputs.drafts.flatten(),
        offsets=torch.arange(cell.batch + 1, device=device) * (cell.lookahead + 1),
        cutoffs=filled(cell.lookahead, torch.int64),
        positions=filled(11, torch.int64),
        seeds=filled(params.seed, torch.int64),
        top_ks=filled(params.top_k, torch.int64),
        temperatures=filled(params.temperature, torch.float64),
        top_ps=filled(params.top_p, torch.float64),
        min_offsets=filled(float("-inf"), torch.float64),
    )
    layout = Layout(
        cell.num_rows, cell.batch, cell.vocabulary, cell.lookahead + 1,
        samples=samples, filters=params.top_k > 0, statistics=True, logprobs=True,
    )  # fmt: skip
    space = Workspace.allocate(layout, device)
    return lambda: verify(inputs.logits, tables, layout, space), lambda: (space.tokens, space.num_accepted)


def eager(cell: Cell, inputs: Inputs) -> Step:
    """The step as one writes it in PyTorch: probabilities of every row, a token of each, the accepted prefix."""
    params = KINDS[cell.kind]

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        if params.temperature == 0:
            chosen = inputs.logits.argmax(-1)
        else:
            probs = probabilities(inputs.logits, params)
            # Gumbel's trick instead of torch.multinomial, which waits for the device
            chosen = (probs / torch.empty_like(probs).exponential_()).argmax(-1)
        tokens = chosen.view(cell.batch, -1)
        accepted = (tokens[:, :-1] == inputs.drafts).int().cumprod(-1).sum(-1)
        return tokens, accepted

    return step


def probabilities(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:  # [R, V] -> float32 [R, V]
    values = logits.float() / params.temperature
    if params.top_k:
        values = values.masked_fill(values < values.topk(params.top_k, -1).values[:, -1:], float("-inf"))
        ordered, order = values.softmax(-1).sort(-1, descending=True)
        cut = ordered.cumsum(-1) - ordered >= params.top_p
        values = values.masked_fill(torch.zeros_like(cut).scatter(1, order, cut), float("-inf"))
    return values.softmax(-1)


def flashinfer_chain(cell: Cell, inputs: Inputs) -> Step:
    """flashinfer.sampling.chain_speculative_sampling, from the logits. Raises ImportError."""
    from flashinfer.sampling import chain_speculative_sampling

    shape = (cell.batch, cell.lookahead + 1, cell.vocabulary)
    one_hot = torch.nn.functional.one_hot(inputs.drafts, cell.vocabulary).float()
    drafts, params = inputs.drafts.int(), KINDS[cell.kind]

    def step() -> object:
        return chain_speculative_sampling(one_hot, drafts, probabilities(inputs.logits, params).view(shape))

    return step


def sglang_chain(cell: Cell, inputs: Inputs) -> Step:
    """SGLang's chain_speculative_sampling_triton, from the logits. Raises ImportError."""
    from sglang.kernels.ops.speculative.reject_sampling import chain_speculative_sampling_triton

    rows, device, params = cell.lookahead + 1, inputs.logits.device, KINDS[cell.kind]
    one_hot = torch.nn.functional.one_hot(inputs.drafts, cell.vocabulary).float()
    index = torch.arange(cell.num_rows, device=device).view(cell.batch, rows)
    candidates = torch.cat([torch.zeros_like(inputs.drafts[:, :1]), inputs.drafts], 1)
    following = torch.where(torch.arange(rows, device=device) + 1 < rows, torch.arange(rows, device=device) + 1, -1)
    following = following.expand(cell.batch, rows).contiguous()
    predicts = torch.zeros(cell.num_rows, dtype=torch.int32, device=device)
    accept_index = torch.full((cell.batch, rows), -1, dtype=torch.int32, device=device)
    accepted = torch.zeros(cell.batch, dtype=torch.int32, device=device)
    coins = torch.rand(cell.batch, rows, device=device)

    def step() -> None:
        probs = probabilities(inputs.logits, params).view(cell.batch, rows, -1)
        chain_speculative_sampling_triton(
            predicts, accept_index, accepted, candidates, index, following, torch.full_like(following, -1), coins,
            coins[:, 0].contiguous(), probs, one_hot, 1.0, 1.0, True,
        )  # fmt: skip

    return step


def seconds(step: Step, device: torch.device, *, graph: bool, rounds: int) -> float:
    """Median time of a step, with a cold cache, on the device's own clock. CUDA only."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    if graph:
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            step()
        step = captured.replay
    flush = torch.empty(256 << 20, dtype=torch.uint8, device=device)
    times = []
    for _ in range(rounds):
        flush.zero_()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        step()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return median(times)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of a large copy."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source), device, graph=False, rounds=20)


def is_right(cell: Cell, inputs: Inputs, tokens: torch.Tensor, accepted: torch.Tensor) -> bool:
    """Do the fused tokens equal the specification's?"""
    from spec_kernels import SamplingBatch, reference

    count = max(1, min(cell.batch, CHECKED_ROWS // (cell.lookahead + 1)))
    offsets = [index * (cell.lookahead + 1) for index in range(count + 1)]
    params = [KINDS[cell.kind]] * count
    expected = reference.verify_chains(
        inputs.logits[: offsets[-1]].cpu(), inputs.drafts[:count].flatten().tolist(), offsets, [11] * count,
        SamplingBatch.of(params),
    )  # fmt: skip
    same = torch.equal(tokens[:count].cpu(), expected.tokens)
    return same and torch.equal(accepted[:count].cpu(), expected.num_accepted)


def measure(cell: Cell, device: torch.device, bandwidth: float | None, missing: dict[str, str]) -> dict[str, Any]:
    """One cell; without a bandwidth (on a CPU) it is checked and not timed."""
    inputs = Inputs.of(cell, device)
    step, results = fused(cell, inputs)
    step()
    report: dict[str, Any] = {**dataclasses.asdict(cell), "right": is_right(cell, inputs, *results())}
    others: dict[str, Callable[[Cell, Inputs], Step]] = {
        "eager": eager,
        "compiled": lambda cell, inputs: torch.compile(eager(cell, inputs), dynamic=False),
    }
    if cell.kind != "greedy":
        others |= {"flashinfer": flashinfer_chain, "sglang": sglang_chain}
    steps = {}
    for name, make in others.items():
        if name not in missing:
            try:
                steps[name] = make(cell, inputs)
                if bandwidth is not None or name == "eager":
                    steps[name]()
            except Exception as error:  # whatever a foreign library, or its kernels on this device, raise
                steps.pop(name, None)
                missing[name] = f"{type(error).__name__}: {error}"[:300]
    if bandwidth is None:
        return report
    floor = inputs.logits.numel() * inputs.logits.element_size() / bandwidth
    times = {"fused": seconds(step, device, graph=True, rounds=20)}
    times |= {name: seconds(one, device, graph=False, rounds=10) for name, one in steps.items()}
    return {**report, "seconds": {"floor": floor, **times}, "share_of_bandwidth": round(floor / times["fused"], 3)}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "kernels/bench/results", help="folder for the JSON file"
    )
    parser.add_argument("--quick", action="store_true", help="a few cells only, on a GPU")
    options = parser.parse_args(argv)
    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is first imported
    device = torch.device("cuda" if has_gpu else "cpu")
    sizes = GPU_CELLS if has_gpu else CPU_CELLS
    if has_gpu and options.quick:
        sizes = ((1, 16, 128), (4,), (128_256,))
    cells = [Cell(kind, *size) for kind in KINDS for size in itertools.product(*sizes)]
    machine = Machine.now(REPOSITORY)
    bandwidth = copy_bandwidth(device) if has_gpu else None
    missing: dict[str, str] = {}
    results = [measure(cell, device, bandwidth, missing) for cell in cells]
    report = {
        "form": "GPU" if has_gpu else "CPU form: tiny sizes in Triton's interpreter, checked and not timed",
        "device": torch.cuda.get_device_name() if has_gpu else machine.processor,
        "command": ["python", "kernels/bench/verification.py", *argv],
        "machine": dataclasses.asdict(machine),
        "copy_bytes_per_second": bandwidth,
        "not_measured": missing,
        "cells": results,
    }
    text = json.dumps(report, indent=1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"verification-{'gpu' if has_gpu else 'cpu'}-{machine.started_at[:10]}.json"
    path.write_text(text + "\n")
    print(path)
    return 0 if all(result["right"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
