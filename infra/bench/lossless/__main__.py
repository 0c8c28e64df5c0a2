"""Is greedy output bit-exact? Over all prompts x {off, static, memory, adaptive, hot swap in mid-request} x {alone, 4
together, 8 together}, and each once among 8 of mixed sources, against the model's own loop.

    python -m infra.bench.lossless --prompts question.jsonl [more.jsonl ...] [--max-tokens 32] [--resume]

Writes lossless.json after every eight prompts. Exit status: 0 all equal, 1 something differs or could not run.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dataplane.engines.embedded import EmbeddedEngine
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.checkpoint import EagleCheckpoint
from dataplane.speculation.drafters.delta import DELTA_MODULES, TenantDelta, save_delta
from infra.bench.__main__ import MODEL, REPOSITORY
from infra.bench.lossless.grid import Cell, Engines, Grid
from infra.bench.prompts import Collection, PromptsError, broad_prompts, read_file
from infra.bench.stage import MAX_CONTEXT, NUM_SLOTS, Stage
from infra.bench.store import Store, write_json
from infra.demo.workloads import Message

_GROUP = 8
_RANK = 8
_SCALE = 0.05  # of the random deltas: enough to change what is drafted


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.bench.lossless", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", nargs="+", type=Path, default=[], help="JSON Lines; default: built-in prompts")
    parser.add_argument("--limit", type=int, help="only so many prompts, spread over the files")
    parser.add_argument("--max-tokens", type=int, default=32, help="new tokens of each request (default 32)")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--static", type=Path, help="checkpoint folder of its static drafter")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "var" / "bench", help="folder of lossless.json")
    given = parser.parse_args(arguments)
    static = given.static or REPOSITORY / "dataplane" / "checkpoints" / f"{given.model.name}-eagle3"
    try:
        chats = read_chats(given.prompts)
    except (PromptsError, OSError) as error:
        print(f"lossless: {error}", file=sys.stderr)
        return 1
    chats = chats[:: max(1, len(chats) // given.limit)][: given.limit] if given.limit else chats
    stage = Stage(given.model, static, threads=given.threads)
    memory = EmbeddedEngine(
        stage.model,
        stage.new_drafters(num_slots=NUM_SLOTS, static=False),
        Controller(),
        num_slots=NUM_SLOTS,
        max_context=MAX_CONTEXT,
        threads=stage.threads,
    )
    memory.start(sweep=False)
    try:
        deltas = random_deltas(stage.checkpoint, given.out / "lossless-deltas")
        grid = Grid(stage.model, Engines(stage.engine, memory, deltas), max_tokens=given.max_tokens)
        return _check(grid, stage, chats, given)
    finally:
        memory.stop()
        stage.close()


def read_chats(paths: Sequence[Path]) -> list[tuple[Message, ...]]:
    """All prompts of the files. Raises PromptsError, OSError."""
    found = [read_file(path, learn=1 << 30, heldout=1 << 30) for path in paths] or [broad_prompts()]
    chats: list[tuple[Message, ...]] = []
    for one in found:
        if isinstance(one, Collection):
            chats += [prompt.messages for prompt in one.prompts]
        else:
            chats += [*one.learn, *one.heldout]
    return chats


def random_deltas(checkpoint: EagleCheckpoint, folder: Path) -> tuple[Path, Path]:
    """Two versions that draft differently from the static drafter and from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / "a.safetensors", folder / "b.safetensors")
    shapes = checkpoint.config.shapes()
    for seed, path in enumerate(paths):
        random = torch.Generator().manual_seed(seed)
        low_rank = {}
        for module in DELTA_MODULES:
            out, inner = shapes[f"{module}.weight"]
            down = torch.randn(_RANK, inner, generator=random) / inner**0.5
            low_rank[module] = (down, _SCALE * torch.randn(out, _RANK, generator=random))
        save_delta(path, TenantDelta(checkpoint.sha256, _RANK, low_rank))
    return paths


def _check(grid: Grid, stage: Stage, chats: Sequence[Sequence[Message]], given: argparse.Namespace) -> int:
    settings = {"model": str(given.model), "prompts": len(chats), "max_tokens": given.max_tokens}
    store, done, began = Store(given.out, settings), 0, time.monotonic()
    if given.resume and (kept := store.read("lossless")) is not None:
        done = kept["done"]
        for name, cell in kept["cells"].items():
            source, company = name.split("/")
            grid.cells[source, company] = Cell(**cell)
    first = done
    while done < len(chats):
        group = range(done, min(done + _GROUP, len(chats)))
        grid.check({number: stage.encode(chats[number], given.max_tokens) for number in group})
        done = group.stop
        cells = {f"{source}/{company}": dataclasses.asdict(cell) for (source, company), cell in grid.cells.items()}
        store.write("lossless", {"done": done, "cells": cells})
        found = {"done": done, "different": grid.different, "kernels": stage.model.kernels, "cells": cells}
        write_json(given.out / "lossless.json", settings | found)
        left = (time.monotonic() - began) / (done - first) * (len(chats) - done)
        print(f"{done}/{len(chats)} prompts, {grid.different} differences, {left / 60:.0f} minutes left", flush=True)
    for (source, company), cell in grid.cells.items():
        print(
            f"  {source:9} {company:11} {cell.requests:6} requests {cell.tokens:8} tokens, accepted "
            f"{cell.accepted}/{cell.drafted}, swaps {cell.swaps}: {cell.different} different {cell.first or ''}"
        )
    return 1 if grid.different else 0


if __name__ == "__main__":
    sys.exit(main())
