"""The contract of `engines.base.Engine`, kept by every engine on the same tiny target."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import pytest

from dataplane.speculation.registry import Desired
from dataplane.speculation.types import SamplingParams
from tests.contract.engines.worlds import PROMPTS, REPEATED, TOKENS, Answer, World, ask, request

_ids = count()


def fresh() -> str:
    return f"req_{next(_ids)}"


def asked(world: World, *requests: object) -> list[Answer]:
    async def together() -> list[Answer]:
        return list(await asyncio.gather(*(ask(world.engine, one) for one in requests)))  # type: ignore[arg-type]

    return asyncio.run(together())


# First, because what a controller learns of drafts is pooled over projects: the other tests draft badly on purpose.
def test_a_delta_learned_from_traffic_swaps_in_mid_stream_and_drafts_for_its_tenant_alone(
    world: World, learned: Path
) -> None:
    desired = {"dep_prj_learn": Desired("prj_learn", "spv_1", learned, "end_learn")}

    async def scenario() -> Answer:
        answer = Answer()
        async for chunk in world.engine.generate(request("swapped", PROMPTS[0], project="prj_learn")):
            answer.tokens.extend(chunk.token_ids)
            answer.chunks.append(chunk)
            if len(answer.chunks) == 3:
                (loaded,) = await asyncio.to_thread(world.engine.refresh, desired)
                assert loaded.state == "loaded"
        return answer

    swapped = asyncio.run(scenario())
    assert tuple(swapped.tokens) == world.truth[PROMPTS[0]]
    prompts = REPEATED[:8]
    plain = asked(world, *(request(fresh(), prompt, project="prj_plain", mode="off") for prompt in prompts))
    served = asked(
        world,
        *(request(fresh(), prompt, project="prj_learn") for prompt in prompts),
        *(request(fresh(), prompt, project="prj_other") for prompt in prompts),
    )
    assert [answer.tokens for answer in served] == 2 * [answer.tokens for answer in plain]
    mine, others = served[:8], served[8:]
    assert sum(answer.stats.accepted_by_source.get("adaptive", 0) for answer in mine) > 0
    assert {answer.stats.speculator_version_id for answer in mine} == {"spv_1"}
    assert sum(answer.stats.drafted_by_source.get("adaptive", 0) for answer in others) == 0
    assert {answer.stats.speculator_version_id for answer in others} == {None}
    assert world.engine.stats().drafter_errors == 0
    world.engine.refresh({})


@pytest.mark.parametrize("mode", ["off", "static", "adaptive"])
@pytest.mark.parametrize("max_lookahead", [0, 1, 8])
def test_greedy_output_is_what_the_target_says_without_speculation(world: World, mode: str, max_lookahead: int) -> None:
    for prompt in PROMPTS:
        (answer,) = asked(world, request(fresh(), prompt, mode=mode, max_lookahead=max_lookahead, remember=True))
        assert tuple(answer.tokens) == world.truth[prompt]
        assert answer.finish_reason == "length"


def test_requests_of_all_modes_and_tenants_share_a_batch(world: World) -> None:
    wanted = [
        request(fresh(), prompt, project=f"prj_{index % 2}", mode=mode)
        for index, (prompt, mode) in enumerate(
            (prompt, mode) for prompt in PROMPTS for mode in ("off", "static", "adaptive")
        )
    ]
    for one, answer in zip(wanted, asked(world, *wanted), strict=True):
        assert tuple(answer.tokens) == world.truth[one.prompt_tokens]
        if one.speculation.mode == "off":
            assert answer.stats.drafted == 0


def test_what_a_project_repeats_is_accepted_and_other_projects_learn_nothing_of_it(world: World) -> None:
    prompt = PROMPTS[0]

    def answered(project: str, *, remember: bool = True) -> Answer:
        wanted = request(fresh(), prompt, project=project, remember=remember)
        return asked(world, replace(wanted, trace=True))[0]

    first, again = answered("prj_memory"), answered("prj_memory")
    assert again.acceptance_length > 1.5
    assert again.stats.accepted_by_source["memory"] > 5
    assert again.stats.accepted_by_source["memory"] > 2 * first.stats.accepted_by_source.get("memory", 0)
    assert num_recalled(prompt, again) > 5
    stranger = answered("prj_stranger")
    world.engine.forget("prj_memory")
    after = answered("prj_memory", remember=False)
    for answer in (first, stranger, after):
        assert num_recalled(prompt, answer) == 0
    assert first.tokens == again.tokens == stranger.tokens == after.tokens


def num_recalled(prompt: tuple[int, ...], answer: Answer) -> int:
    """Accepted drafts of the memory that it can't have from the request's own text, where they follow no such token."""
    traced = sum(step.tokens for step in answer.stats.trace)
    place, recalled = len(answer.tokens) - traced, 0  # SGLang's first token comes with the prompt
    for step in answer.stats.trace:
        own = (*prompt, *answer.tokens[:place])
        following = set(pairwise(own))
        accepted = [own[-1], *answer.tokens[place : place + step.tokens - 1]]
        recalled += step.source == "memory" and sum(pair not in following for pair in pairwise(accepted))
        place += step.tokens
    assert place == len(answer.tokens)
    return recalled


def test_the_counters_add_up(world: World) -> None:
    for prompt in PROMPTS:
        (answer,) = asked(world, request(fresh(), prompt, project="prj_count", remember=True))
        stats = answer.stats
        assert stats.steps + stats.accepted == len(answer.tokens) == TOKENS
        assert stats.drafted == sum(stats.per_position_drafted) == sum(stats.drafted_by_source.values())
        assert stats.accepted == sum(stats.per_position_accepted) == sum(stats.accepted_by_source.values())
        for drafted, accepted in zip(stats.per_position_drafted, stats.per_position_accepted, strict=True):
            assert 0 <= accepted <= drafted
        assert stats.mode == "adaptive"


def test_a_seed_gives_the_same_text_with_and_without_speculation(world: World) -> None:
    sampling = SamplingParams(temperature=0.9, top_k=20, top_p=0.95, seed=11, frequency_penalty=0.2)
    texts = []
    for mode in ("off", "adaptive", "adaptive"):
        wanted = request(fresh(), PROMPTS[1], project="prj_seed", mode=mode, sampling=sampling, remember=True)
        texts.append(asked(world, wanted)[0].tokens)
    assert texts[0] == texts[1] == texts[2]
    other = SamplingParams(temperature=0.9, top_k=20, top_p=0.95, seed=12, frequency_penalty=0.2)
    assert asked(world, request(fresh(), PROMPTS[1], sampling=other))[0].tokens != texts[0]


def test_a_stop_token_is_the_last_one(world: World) -> None:
    truth = world.truth[PROMPTS[2]]
    stop = truth[7]
    (answer,) = asked(world, request(fresh(), PROMPTS[2], stop=(stop,)))
    assert tuple(answer.tokens) == truth[: truth.index(stop) + 1]
    assert answer.finish_reason == "stop"


def test_logprobs_are_those_of_the_target_whoever_drafted(world: World) -> None:
    found = []
    for mode in ("off", "adaptive", "adaptive"):
        wanted = request(fresh(), PROMPTS[0], project="prj_log", mode=mode, num_logprobs=0, remember=True)
        (answer,) = asked(world, wanted)
        logprobs = [one for chunk in answer.chunks for one in chunk.logprobs]
        assert [one.token_id for one in logprobs] == answer.tokens
        found.append([one.logprob for one in logprobs])
    assert all(value <= 0 for value in found[0])
    assert found[1] == pytest.approx(found[0], abs=1e-3)
    assert found[2] == pytest.approx(found[0], abs=1e-3)


def test_leaving_early_ends_a_request_and_no_other(world: World) -> None:
    async def scenario() -> tuple[int, Answer, Answer]:
        other = asyncio.create_task(ask(world.engine, request(fresh(), PROMPTS[1])))
        async with aclosing(world.engine.generate(request("left", PROMPTS[0], 200))) as stream:  # type: ignore[type-var]
            async for _ in stream:
                break
        aborted = request("aborted", PROMPTS[0], 200, mode="off")
        answer = Answer()
        async for chunk in world.engine.generate(aborted):
            answer.chunks.append(chunk)
            answer.tokens.extend(chunk.token_ids)
            world.engine.abort("aborted")
        world.engine.abort("nobody")
        untouched = await other
        for _ in range(500):
            if world.engine.stats().running == 0:
                break
            await asyncio.sleep(0.01)
        return world.engine.stats().running, answer, untouched

    running, aborted, untouched = asyncio.run(scenario())
    assert running == 0
    assert aborted.finish_reason == "cancelled"
    assert 0 < len(aborted.tokens) < 200
    assert tuple(untouched.tokens) == world.truth[PROMPTS[1]]


def test_what_admission_should_have_refused_is_refused(world: World) -> None:
    for wanted in (request("a", ()), request("b", (1, 2), 0), request("c", (1, 2), 10_000)):
        with pytest.raises(ValueError, match=r"needs at least|exceed|too long"):
            asked(world, wanted)


def test_a_corrupt_version_is_refused_and_serving_goes_on(world: World, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("corrupt")
    desired = {"dep_prj_bad": Desired("prj_bad", "spv_bad", tmp_path / "bad", "end_bad")}
    (report,) = world.engine.refresh(desired)
    assert (report.state, report.speculator_version_id) == ("refused", "spv_bad")
    assert report.reason
    (answer,) = asked(world, request(fresh(), PROMPTS[3], project="prj_bad"))
    assert tuple(answer.tokens) == world.truth[PROMPTS[3]]
    assert answer.stats.speculator_version_id is None
