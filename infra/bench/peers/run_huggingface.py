"""Hugging Face `generate` in bf16: plain, prompt lookup, assisted (by its own first layers: there is no smaller model
with this tokenizer)."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Thread
from typing import Any

import protocol  # type: ignore[import-not-found]  # beside this file, in the peer's process

_EXIT_LAYER = 6


def start(settings: dict[str, Any]) -> tuple[str, list[str], dict[str, str], protocol.Generate]:
    import torch
    import transformers
    from transformers.generation.streamers import BaseStreamer

    torch.set_num_threads(settings["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.bfloat16)
    model.train(False)
    methods: dict[str, dict[str, Any]] = {
        "bf16-plain": {},
        "bf16-lookup": {"prompt_lookup_num_tokens": 10},
        "bf16-assisted": {"assistant_early_exit": _EXIT_LAYER},
    }

    class Arrivals(BaseStreamer):
        """The new tokens of each step; the prompt comes first."""

        def __init__(self) -> None:
            self.steps: Queue[list[int] | BaseException | None] = Queue()
            self._is_prompt = True

        def put(self, value: torch.Tensor) -> None:
            if not self._is_prompt:
                self.steps.put(value.flatten().tolist())
            self._is_prompt = False

        def end(self) -> None:
            self.steps.put(None)

    def generate(mode: str, prompt: list[int], max_tokens: int) -> Iterator[list[int]]:
        arrivals = Arrivals()

        def work() -> None:
            torch.set_num_threads(settings["threads"])
            try:
                with torch.inference_mode():
                    model.generate(  # type: ignore[misc]
                        torch.tensor([prompt]),
                        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
                        do_sample=False,
                        max_new_tokens=max_tokens,
                        streamer=arrivals,
                        **methods[mode],
                    )
            except Exception as error:
                arrivals.steps.put(error)

        worker = Thread(target=work)
        worker.start()
        while (step := arrivals.steps.get()) is not None:
            if isinstance(step, BaseException):
                worker.join()
                raise step
            yield step
        worker.join()

    failed: dict[str, str] = {}
    for mode in list(methods):
        try:
            list(generate(mode, list(range(10, 20)), 4))  # warms up, and finds out what this version can do
        except Exception as error:
            failed[mode] = protocol.describe(error)
            del methods[mode]
    return f"transformers {transformers.__version__}", list(methods), failed, generate


if __name__ == "__main__":
    protocol.serve(start)
