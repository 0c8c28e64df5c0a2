"""A peer's side of the pipe: JSON lines, one request at a time. Standard library only: it runs in any environment.

in:   {"mode": ..., "prompt": [ids], "max_tokens": n}
out:  {"ready": true, "version": ..., "modes": [...], "failed": {mode: reason}} once, then for each request
      {"tokens": [ids], "prefill_seconds": s, "decode_seconds": s} or {"error": reason}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Generate = Callable[[str, list[int], int], Iterator[list[int]]]  # yields the tokens of each step


def serve(start: Callable[[dict[str, Any]], tuple[str, Sequence[str], dict[str, str], Generate]]) -> None:
    """Runs until the pipe is closed. `start` gets the settings (argv[1], JSON)."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is not part of the protocol

    def answer(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    try:
        version, modes, failed, generate = start(json.loads(sys.argv[1]))
    except Exception as error:
        answer({"error": describe(error)})
        return
    answer({"ready": True, "version": version, "modes": list(modes), "failed": failed})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(_timed(generate(request["mode"], request["prompt"], request["max_tokens"])))
        except Exception as error:
            answer({"error": describe(error)})


def describe(error: BaseException) -> str:
    """One line of at most 300 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def _timed(steps: Iterator[list[int]]) -> dict[str, Any]:
    tokens: list[int] = []
    started = first = last = time.perf_counter()
    head = 0
    for new in steps:
        last = time.perf_counter()
        if not tokens:
            first, head = last, len(new)
        tokens.extend(new)
    # A peer that gives several tokens at once in its first step is not charged for them twice.
    decoded = len(tokens) - head
    share = (len(tokens) - 1) / decoded if decoded else 1.0
    return {"tokens": tokens, "prefill_seconds": first - started, "decode_seconds": (last - first) * share}
