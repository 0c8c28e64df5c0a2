"""vLLM on a CPU in bf16: plain, n-gram, suffix, EAGLE-3 with our checkpoint. One engine for each mode."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import protocol  # type: ignore[import-not-found]  # beside this file, in the peer's process

_CONTEXT = 1024
_IDLE_SECONDS = 1.1  # for a second after a request its workers look for the next without a pause: nobody is timed then


def start(settings: dict[str, Any]) -> tuple[str, list[str], dict[str, str], protocol.Generate]:
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{settings['threads'] - 1}")
    import vllm

    methods: dict[str, dict[str, Any] | None] = {
        "bf16-plain": None,
        "bf16-ngram": {
            "method": "ngram",
            "num_speculative_tokens": 4,
            "prompt_lookup_max": 3,
            "prompt_lookup_min": 1,
        },
        "bf16-suffix": {"method": "suffix", "num_speculative_tokens": 8},
        "bf16-eagle3": {"method": "eagle3", "model": _drafter(settings["static"]), "num_speculative_tokens": 3},
    }
    engines: dict[str, Any] = {}
    failed: dict[str, str] = {}
    numbers = count()

    def generate(mode: str, prompt: list[int], max_tokens: int) -> Iterator[list[int]]:
        engine, number = engines[mode].llm_engine, str(next(numbers))
        sampling = vllm.SamplingParams(temperature=0.0, max_tokens=max_tokens, detokenize=False)
        engine.add_request(number, {"prompt_token_ids": prompt}, sampling)
        known = 0
        while engine.has_unfinished_requests():
            for output in engine.step():
                tokens = list(output.outputs[0].token_ids)
                if len(tokens) > known:
                    yield tokens[known:]
                    known = len(tokens)
        time.sleep(_IDLE_SECONDS)

    for mode in settings["modes"]:
        try:
            engines[mode] = vllm.LLM(
                model=settings["model"],
                dtype="bfloat16",
                max_model_len=_CONTEXT,
                max_num_seqs=1,
                speculative_config=methods[mode],
                enable_prefix_caching=False,
            )
            list(generate(mode, list(range(10, 40)), 8))
        except Exception as error:
            engines.pop(mode, None)
            failed[mode] = protocol.describe(error)
    if not engines:
        raise RuntimeError("; ".join(f"{mode}: {reason}" for mode, reason in failed.items()))
    return f"vllm {vllm.__version__}", list(engines), failed, generate


def _drafter(checkpoint: str) -> str:
    """A folder as vLLM reads it: the weights alone, because it loads every safetensors file that it finds, and layers
    told by how many come before the captured state, where SGLang and we count the layer itself from 0."""
    folder = Path(tempfile.mkdtemp(prefix="vllm-drafter-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "model.safetensors").symlink_to(Path(checkpoint).resolve() / "model.safetensors")
    config = json.loads((Path(checkpoint) / "config.json").read_text())
    eagle = config["eagle_config"]
    eagle["eagle_aux_hidden_state_layer_ids"] = [layer + 1 for layer in eagle["eagle_aux_hidden_state_layer_ids"]]
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


if __name__ == "__main__":
    protocol.serve(start)
