"""The peer: Hugging Face `generate` with the same bf16 weights on the same machine, prompt by prompt beside ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from infra.bench.stage import Stage

_PROMPTS = (
    "Explain in simple words why the sky is blue.",
    "A train travels 180 km in 2 hours. How far does it travel in 5 hours? Show your steps.",
    "Write a short paragraph about the history of bread.",
    "Give me five tips for learning a new language.",
    "What is the difference between a list and a tuple in Python?",
    "Summarise the water cycle for a child of ten.",
    "Describe how a bicycle stays upright.",
    "What should I check before I buy a used car?",
)
_MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class PeerRun:
    """Whole requests, prefill included: new tokens by seconds."""

    plain: float
    huggingface: float
    num_tokens: int
    same_tokens: bool  # bf16 sums differ in their last bit between the two, so that a near tie can part them


def compare_with_huggingface(stage: Stage, report: Callable[[str], None], *, count: int) -> list[PeerRun]:
    """Plain decoding at batch 1, greedy, alternating with the peer."""
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(stage.model_folder, dtype=torch.bfloat16)
    peer.train(False)
    prompts = [stage.encode([{"role": "user", "content": text}], _MAX_TOKENS) for text in _PROMPTS]
    _generate(peer, prompts[0], 8)  # both warm up
    stage.run(prompts[0], "off", tenant="warm-up", max_tokens=8)
    runs = []
    for index, prompt in enumerate(prompts[:count]):
        ours = stage.run(prompt, "off", tenant=f"peer-{index}", max_tokens=_MAX_TOKENS)  # nobody's prefix is cached
        tokens, seconds = _generate(peer, prompt, _MAX_TOKENS)
        runs.append(
            PeerRun(len(ours.tokens) / ours.seconds, len(tokens) / seconds, len(tokens), tokens == list(ours.tokens))
        )
        report(f"plain {runs[-1].plain:.1f} tokens/s, Hugging Face {runs[-1].huggingface:.1f}")
    return runs


@torch.inference_mode()
def _generate(peer: torch.nn.Module, prompt: Sequence[int], max_tokens: int) -> tuple[list[int], float]:
    started = time.perf_counter()
    output = peer.generate(  # type: ignore[operator]
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        do_sample=False,
        max_new_tokens=max_tokens,
    )
    seconds = time.perf_counter() - started
    tokens: list[int] = output[0, len(prompt) :].tolist()
    return tokens, seconds
