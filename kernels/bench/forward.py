"""What a forward pass costs by rows and context, beside reading its weights once: kernels/bench/forward.py

Every round measures every cell once, in turns, so that the machine's noise hits all alike; of a cell's rounds the least
and the median are kept, as wall time and as CPU time of the process (all threads, waiting ones included). `--pytorch`
measures the PyTorch pass in the same rounds, `--in-bytes` the kernels with weights of 8 bits. Prints one JSON object
and, with `--out FOLDER`, writes it there under the date. The figures, of the least CPU times, which other work on the
machine disturbs the least:

    eight_rows_over_one          8 rows by 1 row
    one_row_over_reading         1 row by a plain read of the packed weights with as many threads
    reading_gb_per_second        of the plain read, by one thread's share of the time
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dataplane.models.attention import Span
from dataplane.models.generate import prefill
from dataplane.models.llama import LlamaModel
from infra.bench.machine import Machine

REPOSITORY = Path(__file__).parents[2]
ROWS = (1, 2, 4, 8, 16, 32)
ALTERNATIVES = (1, 4)  # beside one root, where the kernels have them


def forwards(model: LlamaModel, contexts: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """One call per cell: rows of one sequence behind a context, logits included."""
    cache = model.new_cache(1, max(contexts) + ROWS[-1])
    slot = cache.allocate()
    for chunk in prefill(model, cache, slot, [7 * position % 4096 for position in range(max(contexts))]):
        del chunk

    def forward(rows: int, context: int, alternatives: int = 0) -> object:
        plan = model.plan([Span(slot, context, rows, alternatives)], cache)
        hidden, _ = model.forward(torch.arange(rows + alternatives), plan, cache)
        return model.logits(hidden)

    def cell(rows: int, context: int, alternatives: int = 0) -> Callable[[], object]:
        return lambda: forward(rows, context, alternatives)

    cells = {f"{rows} rows at {context}": cell(rows, context) for context in contexts for rows in ROWS}
    if model.native is None:
        return cells
    return cells | {
        f"1 row and {n} beside it at {context}": cell(1, context, n) for context in contexts for n in ALTERNATIVES
    }


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each call."""
    walls, cpus = defaultdict(list), defaultdict(list)
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if round_:  # the first warms up
                walls[name].append(1000 * (time.perf_counter() - wall))
                cpus[name].append(1000 * (time.process_time() - cpu))
    return {
        name: {
            "wall_min": round(min(walls[name]), 2),
            "wall_median": round(median(walls[name]), 2),
            "cpu_min": round(min(cpus[name]), 2),
            "cpu_median": round(median(cpus[name]), 2),
        }
        for name in calls
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=REPOSITORY / "var/models/smollm2-135m-instruct")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--contexts", type=int, nargs="+", default=[256, 1000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pytorch", action="store_true", help="the PyTorch pass too")
    parser.add_argument("--in-bytes", action="store_true", help="the kernels with weights of 8 bits too")
    parser.add_argument("--out", type=Path, help="folder for the JSON file")
    options = parser.parse_args()
    machine = Machine.now(REPOSITORY)
    context = max(options.contexts) + ROWS[-1]
    model = LlamaModel.load(options.model, max_context=context)
    calls = {f"{name}, {model.kernels}": call for name, call in forwards(model, tuple(options.contexts)).items()}
    if (native := model.native) is not None:
        calls["reading the weights"] = lambda: native.library.read_only(native.weights)
    if options.pytorch:
        plain = LlamaModel.load(options.model, max_context=context, native=False)
        calls |= {f"{name}, PyTorch": call for name, call in forwards(plain, tuple(options.contexts)).items()}
    if options.in_bytes:
        eight = LlamaModel.load(options.model, max_context=context, in_bytes=True)
        calls |= {f"{name}, {eight.kernels}": call for name, call in forwards(eight, tuple(options.contexts)).items()}
    report: dict[str, Any] = {"machine": dataclasses.asdict(machine), "kernels": model.kernels, "threads": {}}
    for threads in sorted(set(options.threads)):
        torch.set_num_threads(threads)
        cells = measure(calls, options.rounds)

        def least(name: str, cells: dict[str, dict[str, float]] = cells) -> float:
            return cells[name]["cpu_min"]

        one, several = (f"{rows} rows at {options.contexts[0]}, {model.kernels}" for rows in (1, 8))
        figures = {"eight_rows_over_one": round(least(several) / least(one), 3)}
        if native is not None:
            figures["one_row_over_reading"] = round(least(one) / least("reading the weights"), 3)
            seconds = least("reading the weights") / threads / 1000
            figures["reading_gb_per_second"] = round(native.weights.values.nbytes / seconds / 1e9, 1)
        report["threads"][threads] = {"figures": figures, "milliseconds": cells}
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"forward-{machine.started_at[:10]}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
