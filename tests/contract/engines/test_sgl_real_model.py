"""SmolLM2-135M on SGLang with the drafter that ships: the same greedy tokens as plain SGLang, in fewer steps."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.engines.sgl.engine import SGLangEngine
from dataplane.models.tokenizer import Tokenizer
from dataplane.models.weights import main as convert
from tests.contract.engines.worlds import CPU_ARGUMENTS, ROOT, Answer, ask, eagle3, request, stock

STATIC = ROOT / "dataplane" / "checkpoints" / "smollm2-135m-instruct-eagle3"
MODEL = ROOT / "var" / "models" / "smollm2-135m-instruct"
# A repetitive workload: the answers repeat what the question says.
QUESTIONS = (
    "Repeat this line three times: The quick brown fox jumps over the lazy dog.",
    "Count from 1 to 12, one number per line.",
)
TOKENS = 32

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def prompts() -> list[tuple[int, ...]]:
    if not (MODEL / "model.safetensors").exists():
        convert(["--out", str(MODEL)])
    tokenizer = Tokenizer.load(MODEL)
    return [tuple(tokenizer.apply_chat_template([{"role": "user", "content": text}])) for text in QUESTIONS]


def test_static_and_memory_are_accepted_and_the_text_is_plain_sglangs(prompts: list[tuple[int, ...]]) -> None:
    without, replica = stock(MODEL, prompts, TOKENS, {}, eagle3(STATIC))
    plain = without["before"]["tokens"]
    # Unmodified SGLang, its own EAGLE-3: the checkpoint that ships is a stock one.
    assert replica["before"]["tokens"] == plain
    assert min(replica["before"]["acceptance_length"]) > 1.2
    engine = SGLangEngine(
        MODEL, static=STATIC, num_slots=2, max_context=256, start_seconds=900, server_args=CPU_ARGUMENTS
    )

    async def answers(mode: str) -> list[Answer]:
        wanted = (request(f"{mode}-{i}", prompt, TOKENS, mode=mode, remember=True) for i, prompt in enumerate(prompts))
        return list(await asyncio.gather(*(ask(engine, one) for one in wanted)))

    try:
        found = {mode: asyncio.run(answers(mode)) for mode in ("static", "adaptive")}
        again = asyncio.run(answers("adaptive"))
    finally:
        engine.stop()
    for served in (*found.values(), again):
        assert [answer.tokens for answer in served] == plain
    steps = sum(answer.stats.steps for answer in found["static"])
    accepted = sum(answer.stats.accepted_by_source["static"] for answer in found["static"])
    assert 1 + accepted / steps > 1.5
    assert all(answer.acceptance_length > 2 for answer in again)
    assert all(answer.stats.accepted_by_source["memory"] > 0 for answer in again)
