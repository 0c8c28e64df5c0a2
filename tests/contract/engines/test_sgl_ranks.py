"""Two tensor-parallel ranks on one CPU: the first drafts, both verify, and no token differs from a single device's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.engines.sgl.engine import SGLangEngine
from dataplane.speculation.types import SamplingParams
from tests.contract.engines.worlds import CPU_ARGUMENTS, MAX_CONTEXT, PROMPTS, Answer, ask, plugins, request


@pytest.fixture(scope="module")
def engine(target: Path, static: Path) -> Iterator[SGLangEngine]:
    os.environ["SGLANG_CPU_OMP_THREADS_BIND"] = "0|0"  # SGLang wants to be told when ranks share a memory node
    with plugins("slipstream", "cpu_shim", "large_target"):
        made = SGLangEngine(
            target,
            static=static,
            num_slots=4,
            max_context=MAX_CONTEXT,
            start_seconds=900,
            server_args={**CPU_ARGUMENTS, "tp_size": 2},
        )
    del os.environ["SGLANG_CPU_OMP_THREADS_BIND"]
    yield made
    made.stop()


def answers(engine: SGLangEngine, mode: str, round_: int, sampling: SamplingParams | None = None) -> list[Answer]:
    async def together() -> list[Answer]:
        wanted = (
            request(f"{mode}-{round_}-{index}-{sampling is None}", prompt, mode=mode, remember=True, sampling=sampling)
            for index, prompt in enumerate(PROMPTS)
        )
        return list(await asyncio.gather(*(ask(engine, one) for one in wanted)))

    return asyncio.run(together())


def test_greedy_text_is_that_of_plain_sglang_on_one_device(
    engine: SGLangEngine, sglang_truth: dict[tuple[int, ...], tuple[int, ...]]
) -> None:
    for round_, mode in enumerate(("off", "static", "adaptive", "adaptive")):
        served = answers(engine, mode, round_)
        assert [tuple(answer.tokens) for answer in served] == [sglang_truth[prompt] for prompt in PROMPTS]
    assert all(answer.stats.accepted_by_source["memory"] > 0 for answer in served)
    assert sum(answer.stats.accepted for answer in served) > sum(answer.stats.steps for answer in served)
    assert engine.stats().drafter_errors == 0


def test_ranks_draw_alike_and_a_seed_decides(engine: SGLangEngine) -> None:
    """Ranks that disagreed on a token would have different caches, and then hang or say something else."""
    sampling = SamplingParams(temperature=0.9, top_k=20, top_p=0.95, seed=11, frequency_penalty=0.2)
    texts = [
        [answer.tokens for answer in answers(engine, mode, round_, sampling)]
        for round_, mode in enumerate(("off", "adaptive", "adaptive"))
    ]
    assert texts[0] == texts[1] == texts[2]
    other = SamplingParams(temperature=0.9, top_k=20, top_p=0.95, seed=12, frequency_penalty=0.2)
    assert [answer.tokens for answer in answers(engine, "adaptive", 3, other)] != texts[0]
