"""llama.cpp through its C API: BF16, Q8_0 and Q4_1 of the same weights; plain, and prompt lookup (Saxena, 2023).

The GGUF file that our model was converted from is the source of all three: its Q4_1 values, written as BF16, are the
weights that we serve.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lookup  # type: ignore[import-not-found]  # beside this file, in the peer's process
import protocol  # type: ignore[import-not-found]  # beside this file, in the peer's process

_CONTEXT = 1024 + 64


def start(settings: dict[str, Any]) -> tuple[str, list[str], dict[str, str], protocol.Generate]:
    import llama_cpp
    from llama_cpp import llama_cpp as c

    source = settings.get("gguf")
    if not source:
        raise FileNotFoundError("the model was not converted from a GGUF file that is still here")
    c.llama_backend_init()
    folder = Path(settings["scratch"])
    folder.mkdir(parents=True, exist_ok=True)
    formats = {"bf16": c.LLAMA_FTYPE_MOSTLY_BF16, "q8_0": c.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_1": None}
    wanted = [mode for mode in settings["modes"] if mode.split("-")[0] in formats]
    runners: dict[str, _Runner] = {}
    failed: dict[str, str] = {}
    for name in dict.fromkeys(mode.split("-")[0] for mode in wanted):
        try:
            path = Path(source) if formats[name] is None else folder / f"{name}.gguf"
            if not path.exists():
                _quantize(c, Path(source), path, formats[name], settings["threads"])
            runners[name] = _Runner(c, path, settings["threads"], settings["eos"])
            list(runners[name].generate(list(range(10, 20)), 2, 0))
        except Exception as error:
            failed |= {mode: protocol.describe(error) for mode in wanted if mode.startswith(f"{name}-")}

    def generate(mode: str, prompt: list[int], max_tokens: int) -> Iterator[list[int]]:
        name, method = mode.split("-")
        return runners[name].generate(prompt, max_tokens, 0 if method == "plain" else int(method[len("lookup") :]))

    features = " ".join(c.llama_print_system_info().decode().split())
    version = f"llama-cpp-python {llama_cpp.__version__} ({features})"
    return version, [mode for mode in wanted if mode not in failed], failed, generate


class _Runner:
    """One loaded file and its context."""

    def __init__(self, c: Any, path: Path, threads: int, eos: Sequence[int]) -> None:
        self._c = c
        parameters = c.llama_model_default_params()
        parameters.n_gpu_layers = 0
        # Its AMX buffers, which hold quantised weights only, end the process here (a segmentation fault in the first
        # decode, llama-cpp-python 0.3.36): without them the AVX-512 kernels do the work.
        if b"AMX_INT8 = 1" in c.llama_print_system_info():
            parameters.use_extra_bufts = False
        self._model = c.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise RuntimeError(f"{path} can't be loaded")
        context = c.llama_context_default_params()
        context.n_ctx = _CONTEXT
        context.n_batch = context.n_ubatch = 512
        context.n_threads = context.n_threads_batch = threads
        context.no_perf = True
        self._context = c.llama_init_from_model(self._model, context)
        if not self._context:
            raise RuntimeError(f"no context for {path}")
        self._vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self._model))
        self._memory = c.llama_get_memory(self._context)
        self._batch = c.llama_batch_init(512, 0, 1)
        self._eos = frozenset(eos)

    def generate(self, prompt: list[int], max_tokens: int, num_drafted: int) -> Iterator[list[int]]:
        """The tokens of each step: one, or those that `num_drafted` looked-up ones brought."""
        self._c.llama_memory_clear(self._memory, True)
        for at in range(0, len(prompt), 512):
            rows = self._decode(prompt[at : at + 512], at, only_last=True)
        tokens = list(prompt)
        new = [self._argmax(rows - 1)]
        emitted = 0
        while True:
            new = self._until_end(new, max_tokens - emitted)
            tokens += new
            emitted += len(new)
            yield new
            if emitted >= max_tokens or new[-1] in self._eos:
                return
            draft = lookup.look_up(tokens, min(num_drafted, max_tokens - emitted - 1)) if num_drafted else []
            start = len(tokens) - 1
            self._decode([tokens[-1], *draft], start, only_last=False)
            new = []
            for row in range(len(draft) + 1):
                new.append(self._argmax(row))
                if row == len(draft) or draft[row] != new[-1]:
                    break
            if len(new) <= len(draft):
                self._c.llama_memory_seq_rm(self._memory, 0, start + len(new), -1)

    def _until_end(self, new: list[int], room: int) -> list[int]:
        for index, token in enumerate(new[:room]):
            if token in self._eos:
                return new[: index + 1]
        return new[:room]

    def _decode(self, tokens: Sequence[int], start: int, *, only_last: bool) -> int:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row] = token, start + row
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, 0
            batch.logits[row] = not only_last or row == len(tokens) - 1
        status = self._c.llama_decode(self._context, batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")
        return len(tokens)

    def _argmax(self, row: int) -> int:
        import numpy as np

        logits = self._c.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (self._vocab,)).argmax())


def _quantize(c: Any, source: Path, path: Path, kind: int, threads: int) -> None:
    """Write `source` in another format, atomically."""
    parameters = c.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread, parameters.allow_requantize = kind, threads, True
    partial = path.with_suffix(".partial")
    if c.llama_model_quantize(str(source).encode(), str(partial).encode(), ctypes.byref(parameters)):
        raise RuntimeError(f"{source} can't be written as {path.name}")
    partial.rename(path)


if __name__ == "__main__":
    protocol.serve(start)
