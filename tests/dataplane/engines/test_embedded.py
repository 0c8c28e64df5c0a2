"""dataplane/engines/embedded: requests in, tokens out, whatever happens in between (tiny random Llama, float64)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dataplane.engines.base import GenerationChunk, GenerationRequest
from dataplane.engines.embedded import EmbeddedEngine
from dataplane.engines.embedded.engine import EngineStoppedError
from dataplane.models.generate import generate_batch
from dataplane.models.llama import LlamaModel
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.memory_store import MemoryStore
from dataplane.speculation.registry import Delta, DrafterSet
from dataplane.speculation.types import Plan, Proposal, SamplingParams, SequenceView, Source, SpeculationPolicy
from tests.tiny_llama import TINY, tiny_llama, tiny_native

pytestmark = pytest.mark.anyio

OFF = SpeculationPolicy(mode="off")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class RandomDrafter:
    """Drafts anything, sometimes the truth; counts which positions it was extended over."""

    def __init__(self, truths: Sequence[Sequence[int]] = (), *, seed: int = 0) -> None:
        self.truths = [tuple(truth) for truth in truths]
        self.extended: dict[int, int] = {}
        self._random = random.Random(seed)

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        assert start == self.extended.get(sequence.slot, 0)
        assert features.shape == (len(tokens), 3 * TINY.hidden_size)
        self.extended[sequence.slot] = start + len(tokens)

    def propose(
        self,
        sequences: Sequence[SequenceView],
        lookaheads: Sequence[int],
        deltas: Sequence[Delta | None],
        *,
        num_alternatives: int = 0,
    ) -> list[Proposal]:
        return [
            self._propose(tuple(one.tokens), length, num_alternatives)
            for one, length in zip(sequences, lookaheads, strict=True)
        ]

    def _propose(self, tokens: tuple[int, ...], length: int, num_alternatives: int) -> Proposal:
        known = [truth[len(tokens) : len(tokens) + length] for truth in self.truths if truth[: len(tokens)] == tokens]
        drafted = list(known[0]) if known else []
        right = drafted[:1]
        drafted = [t if self._random.random() < 0.8 else self._random.randrange(TINY.vocab_size) for t in drafted]
        sources: tuple[Source, ...] = ("static",) * len(drafted)
        others = [*right, *self._random.sample(range(TINY.vocab_size), num_alternatives)]
        others = [token for token in dict.fromkeys(others) if token not in drafted[:1]][:num_alternatives]
        others = self._random.sample(others, len(others)) if drafted else []
        return Proposal(
            tuple(drafted),
            (0.8,) * len(drafted),
            sources,
            alternatives=tuple(others),
            alternative_confidences=(0.1,) * len(others),
        )

    def release(self, sequence: SequenceView) -> None:
        self.extended.pop(sequence.slot, None)

    def load_delta(self, path: Path) -> Delta:
        raise ValueError(f"no delta in {path}")


class EagerController(Controller):
    """Always asks for as much as it may: every path of the step is exercised."""

    def plan(self, sequences: Sequence[SequenceView], candidates: object) -> list[Plan]:
        rooms = [min(one.speculation.max_lookahead, one.num_remaining - 1) for one in sequences]
        return [Plan("static", room) if one.speculation.mode != "off" and room > 0 else Plan()
                for one, room in zip(sequences, rooms, strict=True)]  # fmt: skip

    def cut(self, sequences: object, plans: object, proposals: Sequence[Proposal]) -> list[Proposal]:
        return list(proposals)


def new_engine(
    model: LlamaModel | None = None,
    *,
    drafter: RandomDrafter | None = None,
    controller: Controller | None = None,
    num_slots: int = 3,
    max_context: int = 300,
    prefix_cache_bytes: int = 1 << 20,
    memory: TenantMemory | None = None,
) -> EmbeddedEngine:
    return EmbeddedEngine(
        model or tiny_llama(),
        DrafterSet(drafter, memory, vocab_size=TINY.vocab_size),
        controller or Controller(),
        num_slots=num_slots,
        max_context=max_context,
        prefix_cache_bytes=prefix_cache_bytes,
        threads=1,
    )


@asynccontextmanager
async def running(engine: EmbeddedEngine) -> AsyncIterator[EmbeddedEngine]:
    engine.start(sweep=False)
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.stop)


def ask(
    request_id: str = "one",
    prompt: Sequence[int] = (3, 4, 5),
    max_tokens: int = 12,
    *,
    salt: str = "salt",
    policy: SpeculationPolicy = OFF,
    sampling: SamplingParams | None = None,
    stop: tuple[int, ...] = (),
    ignore_eos: bool = True,
    num_logprobs: int | None = None,
) -> GenerationRequest:
    return GenerationRequest(
        request_id, "prj_a", "end_a", salt, tuple(prompt), max_tokens, sampling or SamplingParams(), policy, stop,
        ignore_eos, num_logprobs,
    )  # fmt: skip


async def collect(engine: EmbeddedEngine, request: GenerationRequest) -> tuple[list[int], list[GenerationChunk]]:
    chunks = [chunk async for chunk in engine.generate(request)]
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    return [token for chunk in chunks for token in chunk.token_ids], chunks


def greedy(model: LlamaModel, prompt: Sequence[int], max_tokens: int) -> tuple[int, ...]:
    return next(generate_batch(model, [prompt], max_new_tokens=max_tokens, stop_token_ids=())).tokens


def random_prompts(count: int, *, seed: int = 0, longest: int = 200) -> list[list[int]]:
    choose = random.Random(seed)
    return [[choose.randrange(TINY.vocab_size) for _ in range(choose.randrange(1, longest))] for _ in range(count)]


@pytest.mark.parametrize("new_model", [tiny_llama, tiny_native])
async def test_greedy_output_is_the_models_own_in_every_mode_and_company(new_model: Callable[[], LlamaModel]) -> None:
    """Also with another chunking of the prompt and with prefixes from the cache, in PyTorch and in the CPU kernels."""
    model = new_model()
    prompts = random_prompts(9)
    expected = [greedy(model, prompt, 30) for prompt in prompts]
    drafter = RandomDrafter([[*p, *e] for p, e in zip(prompts, expected, strict=True)])
    policies = [OFF, SpeculationPolicy("static", 15), SpeculationPolicy("adaptive", 5, remember=True)]
    async with running(new_engine(model, drafter=drafter, controller=EagerController())) as engine:
        requests = [
            ask(f"{index}-{policy.mode}", prompt, 30, policy=policy)
            for index, prompt in enumerate(prompts)
            for policy in policies
        ]
        results = await asyncio.gather(*[collect(engine, request) for request in requests])
    for number, (tokens, chunks) in enumerate(results):
        assert tuple(tokens) == expected[number // len(policies)]
        stats = chunks[-1].stats
        assert chunks[-1].finish_reason == "length"
        assert stats is not None
        assert stats.mode == policies[number % len(policies)].mode
        assert stats.accepted + stats.steps == len(tokens)
        assert stats.drafted == sum(stats.per_position_drafted) == sum(stats.drafted_by_source.values())
        assert (stats.drafted > 0) == (stats.mode != "off")
    assert drafter.extended == {}
    assert engine.stats().drafter_errors == 0
    assert engine.stats().kv_used_tokens == 0
    assert engine.stats().prefix_cache_hits > 0


async def test_a_trace_tells_every_step_and_adds_up() -> None:
    async with running(new_engine(controller=Controller())) as engine:
        request = ask("traced", max_tokens=24, policy=SpeculationPolicy("adaptive", 7))
        tokens, chunks = await collect(engine, replace(request, trace=True))
        untraced, others = await collect(engine, replace(request, request_id="untraced"))
    stats, other = chunks[-1].stats, others[-1].stats
    assert stats is not None
    assert other is not None
    assert untraced == tokens
    assert other.trace == ()
    assert len(stats.trace) == stats.steps
    assert sum(step.tokens for step in stats.trace) == len(tokens)
    assert sum(step.lookahead for step in stats.trace) == stats.drafted
    assert all(1 <= step.predicted_tokens <= 1 + step.lookahead for step in stats.trace)
    assert all(step.seconds > 0 and step.predicted_seconds > 0 for step in stats.trace)
    assert sum(one.steps for one in stats.goodput.values()) == stats.steps
    assert sum(one.tokens for one in stats.goodput.values()) == len(tokens)


async def test_a_seed_gives_the_same_sample_with_and_without_speculation() -> None:
    sampling = SamplingParams(temperature=0.9, top_p=0.95, seed=11, presence_penalty=0.5, frequency_penalty=0.2)
    async with running(new_engine()) as engine:
        plain, _ = await collect(engine, ask("plain", sampling=sampling, max_tokens=40))
    async with running(new_engine(drafter=RandomDrafter([[3, 4, 5, *plain]]), controller=EagerController())) as engine:
        policy = SpeculationPolicy("static", 7)
        drafted, chunks = await collect(engine, ask("drafted", sampling=sampling, max_tokens=40, policy=policy))
        other, _ = await collect(engine, ask("other", sampling=SamplingParams(temperature=0.9, seed=12), max_tokens=40))
    assert drafted == plain != other
    assert chunks[-1].stats is not None
    assert chunks[-1].stats.accepted > 0


async def test_generation_ends_after_a_stop_token_also_inside_a_draft() -> None:
    model = tiny_llama()
    expected = greedy(model, [3, 4, 5], 40)
    stop = expected[20]
    cut = expected[: expected.index(stop) + 1]
    drafter = RandomDrafter([[3, 4, 5, *expected]])
    async with running(new_engine(model, drafter=drafter, controller=EagerController())) as engine:
        for policy in (OFF, SpeculationPolicy("static", 15)):
            tokens, chunks = await collect(engine, ask(policy.mode, max_tokens=40, stop=(stop,), policy=policy))
            assert tuple(tokens) == cut
            assert chunks[-1].finish_reason == "stop"


async def test_the_models_end_token_counts_unless_it_is_ignored() -> None:
    sampling = SamplingParams(logit_bias={TINY.eos_token_ids[0]: 100.0})
    async with running(new_engine()) as engine:
        tokens, chunks = await collect(engine, ask("eos", sampling=sampling, ignore_eos=False))
        assert tokens == [2]
        assert chunks[-1].finish_reason == "stop"
        tokens, chunks = await collect(engine, ask("ignored", sampling=sampling, max_tokens=5))
        assert tokens == [2] * 5
        assert chunks[-1].finish_reason == "length"


async def test_logprobs_are_those_of_the_model() -> None:
    async with running(new_engine()) as engine:
        tokens, chunks = await collect(engine, ask(num_logprobs=3))
    logprobs = [entry for chunk in chunks for entry in chunk.logprobs]
    assert [entry.token_id for entry in logprobs] == tokens
    for entry in logprobs:
        assert len(entry.top) == 3
        assert entry.top[0] == (entry.token_id, pytest.approx(entry.logprob))  # greedy: the likeliest
        assert entry.logprob <= 0


async def test_closing_the_iterator_frees_the_slot() -> None:
    async with running(new_engine(num_slots=1)) as engine:
        async with aclosing(engine.generate(ask("left", max_tokens=290))) as chunks:
            await anext(chunks)
        tokens, chunks_after = await collect(engine, ask("next"))
        assert len(tokens) == 12
        assert chunks_after[-1].finish_reason == "length"
    assert engine.stats().kv_used_tokens == 0


async def test_abort_ends_waiting_and_running_requests() -> None:
    async with running(new_engine(num_slots=1)) as engine:
        first = asyncio.create_task(collect(engine, ask("running", max_tokens=290)))
        second = asyncio.create_task(collect(engine, ask("waiting", max_tokens=290)))
        while engine.stats().waiting == 0:
            await asyncio.sleep(0)
        for request_id in ("waiting", "unknown", "running"):
            engine.abort(request_id)
        for _, chunks in (await first, await second):
            assert chunks[-1].finish_reason == "cancelled"
            assert chunks[-1].stats is not None


async def test_a_forgotten_project_leaves_nothing_behind_of_what_waits_and_runs() -> None:
    remember = SpeculationPolicy("adaptive", 4, remember=True)
    async with running(new_engine(num_slots=1)) as engine:
        first = asyncio.create_task(collect(engine, ask("running", max_tokens=290, policy=remember)))
        second = asyncio.create_task(collect(engine, ask("waiting", policy=remember)))
        while engine.stats().waiting == 0 or engine.stats().running == 0:
            await asyncio.sleep(0)
        engine.forget("prj_a")
        engine.abort("running")
        await first
        await second
        assert engine.drafters.memory.bytes_of("prj_a") == 0
        await collect(engine, ask("later, by consent", policy=remember))
        assert engine.drafters.memory.bytes_of("prj_a") > 0


async def test_an_idle_engine_forgets_at_once_on_the_disk_too(tmp_path: Path) -> None:
    remember = SpeculationPolicy("adaptive", 4, remember=True)
    store = MemoryStore(tmp_path, save_seconds=0.0)
    async with running(new_engine(memory=TenantMemory(store=store))) as engine:
        await collect(engine, ask("to be forgotten", policy=remember))
        store.flush()
        assert list(tmp_path.iterdir())
        engine.forget("prj_a")
        while engine.drafters.has_memory_changes:
            await asyncio.sleep(0.01)
        store.flush()
        assert engine.drafters.memory.bytes_of("prj_a") == 0
        assert not list(tmp_path.iterdir())


async def test_stopping_cancels_and_refuses() -> None:
    engine = new_engine(num_slots=1)
    with pytest.raises(EngineStoppedError):
        await collect(engine, ask("early"))
    async with running(engine):
        tasks = [asyncio.create_task(collect(engine, ask(str(index), max_tokens=290))) for index in range(3)]
        while engine.stats().running == 0:
            await asyncio.sleep(0)
    assert [(await task)[1][-1].finish_reason for task in tasks] == ["cancelled"] * 3
    assert not engine.is_alive
    with pytest.raises(EngineStoppedError):
        await collect(engine, ask("late"))


async def test_what_admission_should_have_refused_is_refused() -> None:
    async with running(new_engine()) as engine:
        for request in (ask(prompt=()), ask(max_tokens=0), ask(prompt=[1] * 200, max_tokens=101)):
            with pytest.raises(ValueError, match="token"):
                await collect(engine, request)
        task = asyncio.create_task(collect(engine, ask("same", max_tokens=290)))
        while engine.stats().running == 0:
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="already running"):
            await collect(engine, ask("same"))
        engine.abort("same")
        await task


async def test_a_request_that_breaks_the_forward_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_llama()
    async with running(new_engine(model)) as engine:
        good, bad, single = await asyncio.gather(
            collect(engine, ask("good", max_tokens=60)),
            collect(engine, ask("bad", prompt=[3, 4, TINY.vocab_size + 5])),
            collect(engine, ask("single", prompt=[-1])),
        )
        assert tuple(good[0]) == greedy(model, [3, 4, 5], 60)
        for _, chunks in (bad, single):
            assert chunks[-1].finish_reason == "error"
            assert "vocabulary" in str(chunks[-1].error)
        assert (await collect(engine, ask("after")))[1][-1].finish_reason == "length"
        assert engine.num_failed_steps >= 2


async def test_a_prefix_is_shared_within_a_salt_only_and_changes_nothing() -> None:
    model = tiny_llama()
    prompt = random_prompts(1, seed=5)[0] * 3
    prompt = prompt[:200]
    drafter = RandomDrafter()
    async with running(new_engine(model, drafter=drafter)) as engine:
        policy = SpeculationPolicy("static", 4)
        results = [
            await collect(engine, ask(f"{index}", prompt, salt=salt, policy=policy))
            for index, salt in enumerate(["a", "a", "b"])
        ]
        longer = await collect(engine, ask("longer", [*prompt[:130], 1, 2, 3], salt="a"))
    assert [chunks[0].num_cached_tokens for _, chunks in results] == [0, 192, 0]
    assert longer[1][0].num_cached_tokens == 128
    assert all(tuple(tokens) == greedy(model, prompt, 12) for tokens, _ in results)
    assert engine.stats().prefix_cache_hits == 5


async def test_the_prefix_cache_stays_within_its_bytes() -> None:
    async with running(new_engine(prefix_cache_bytes=300_000)) as engine:
        for index, prompt in enumerate(random_prompts(8, seed=6)):
            await collect(engine, ask(str(index), [index, *prompt, *[1] * 64]))
        engine.prefixes.check_integrity()
        assert 0 < engine.prefixes.num_bytes <= 300_000


async def test_requests_come_and_go_in_any_order_and_nothing_is_lost() -> None:
    model = tiny_llama()
    choose = random.Random(3)
    prompts = random_prompts(24, seed=7, longest=150)
    async with running(new_engine(model, num_slots=4, controller=EagerController(), drafter=RandomDrafter())) as engine:

        async def client(index: int) -> None:
            await asyncio.sleep(choose.random() * 0.2)
            length, leave_after = choose.randrange(1, 40), choose.choice([None, None, 3])
            request = ask(str(index), prompts[index], length, policy=SpeculationPolicy("adaptive", 6, remember=True))
            tokens: list[int] = []
            async with aclosing(engine.generate(request)) as chunks:
                async for chunk in chunks:
                    tokens.extend(chunk.token_ids)
                    if leave_after is not None and len(tokens) >= leave_after:
                        break
            expected = greedy(model, prompts[index], length)
            assert tuple(tokens) == expected[: len(tokens)]
            assert leave_after is not None or len(tokens) == length

        await asyncio.gather(*[client(index) for index in range(len(prompts))])
        while engine.stats().running:
            await asyncio.sleep(0.01)
    assert engine.stats().kv_used_tokens == 0
    assert engine.num_failed_steps == 0


async def test_the_latency_sweep_leaves_nothing_behind() -> None:
    controller = Controller()
    before = controller.table.score_seconds(1, 1)
    engine = new_engine(controller=controller, drafter=RandomDrafter())
    engine.start()
    await asyncio.to_thread(engine.stop)
    assert controller.table.score_seconds(1, 1) != before
    assert engine.stats().kv_used_tokens == 0
    assert engine.cache.num_free == 3
