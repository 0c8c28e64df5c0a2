"""The controller in simulated worlds: close to the best fixed choice without knowing the world, within every limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.memory import Evidence
from dataplane.speculation.latency import LatencyTable
from dataplane.speculation.types import (
    Candidates,
    Mode,
    Plan,
    Proposal,
    Source,
    SpeculationPolicy,
    StepOutcome,
    StepTiming,
)
from tests.dataplane.speculation.worlds import Acceptance, FixedLookahead, World, swept
from tests.fakes import FakeSequence

MEMORY: tuple[Source, ...] = ("memory",) * 16
STATIC: tuple[Source, ...] = ("static",) * 16


def always(mean: float) -> Acceptance:
    return lambda step: mean


def until(change: int, before: float, after: float) -> Acceptance:
    return lambda step: before if step < change else after


def flat(batch: int, rows: int) -> float:
    """A target whose forward hardly depends on the rows up to 8 of them: small models on a CPU, any model on a GPU."""
    return 0.025 + 0.0001 * rows + 0.0006 * max(0, rows - 8 * batch)


def stairs(batch: int, rows: int) -> float:
    return 0.020 + 0.010 * ((rows - 1) // 8)


def dear(batch: int, rows: int) -> float:
    """Every row costs as much as the first: speculation can't pay."""
    return 0.010 * rows


WORLDS: dict[str, tuple[dict[Source, Acceptance], Callable[[int, int], float], int]] = {
    "a good drafter": ({"static": always(0.7)}, flat, 1),
    "a mediocre drafter": ({"static": always(0.3)}, flat, 1),
    "a useless drafter": ({"static": always(0.05)}, flat, 1),
    "the tenant's delta is better": ({"static": always(0.5), "adaptive": always(0.75)}, flat, 1),
    "the tenant's delta is worse": ({"static": always(0.5), "adaptive": always(0.3)}, flat, 1),
    "the memory is better": ({"static": always(0.5), "memory": always(0.8)}, flat, 1),
    "the memory is worse": ({"static": always(0.5), "memory": always(0.1)}, flat, 1),
    "stairs": ({"static": always(0.7)}, stairs, 1),
    "stairs with memory": ({"static": always(0.5), "memory": always(0.8)}, stairs, 1),
    "rows are dear": ({"static": always(0.5), "memory": always(0.4)}, dear, 1),
    "a batch": ({"static": always(0.6)}, flat, 4),
    "a batch on stairs": ({"static": always(0.6)}, stairs, 4),
    "the delta goes stale": ({"static": always(0.5), "adaptive": until(700, 0.8, 0.2)}, flat, 1),
    "the memory goes stale": ({"static": always(0.5), "memory": until(700, 0.8, 0.2)}, flat, 1),
}


@pytest.mark.parametrize("name", WORLDS)
def test_goodput_is_close_to_the_best_fixed_choice(name: str) -> None:
    skills, score, batch = WORLDS[name]

    def world() -> World:
        return World(skills=skills, score=score, batch=batch)

    goodput = world().run(Controller(swept(world())), 1_500)
    fixed: dict[tuple[Source, int], float] = {
        (source, lookahead): world().run(FixedLookahead(source, lookahead), 1_500)
        for source in skills
        for lookahead in (0, 1, 2, 3, 5, 7, 8)
    }
    if "stale" not in name:  # there the fixed ones would have to be run to the end: they only do worse
        assert goodput >= 0.97 * max(fixed.values())
    assert goodput >= 0.97 * max(value for (source, _), value in fixed.items() if source == "static")


@pytest.mark.parametrize("source", ["adaptive", "memory"])
def test_no_stretch_of_an_anti_workload_falls_far_below_the_static_floor(source: str) -> None:
    """The tenant's own tier is worthless here. Stretches of 400 steps are 10 seconds of a 25 ms step."""
    floor = World(skills={"static": always(0.35)}, score=flat, seed=5)
    world = World(skills={"static": always(0.35), source: always(0.05)}, score=flat, seed=5)  # type: ignore[dict-item]
    floor_controller, controller = Controller(swept(floor)), Controller(swept(world))
    for stretch in range(4):
        ratio = world.run(controller, 400) / floor.run(floor_controller, 400)
        assert ratio >= (0.93 if stretch == 0 else 0.95)


def test_a_drafter_that_never_helps_is_hardly_asked() -> None:
    world = World(
        skills={"static": always(0.02)}, score=lambda batch, rows: 0.02 + 0.005 * rows, draft_step=0.004, spread=0.01
    )
    world.run(Controller(swept(world)), 1_000)
    assert world.used["static"] < 60


def test_a_drafter_that_recovers_is_noticed() -> None:
    world = World(
        skills={"static": lambda step: 0.02 if step < 600 else 0.8}, score=flat, draft_step=0.004, spread=0.02
    )
    controller = Controller(swept(world))
    world.run(controller, 800)
    world.used.clear()
    world.run(controller, 300)
    assert world.used["static"] > 250


def test_drift_is_noticed_shown_and_ends_when_the_traffic_comes_back() -> None:
    skills: dict[Source, Acceptance] = {"static": always(0.4), "adaptive": until(600, 0.85, 0.15)}
    world = World(skills=skills, score=flat, spread=0.05, blind=True)
    controller = Controller(swept(world))
    world.run(controller, 600)
    assert not controller.relearning("prj_a", "end_a")
    world.run(controller, 60)
    assert controller.relearning("prj_a", "end_a")
    world.skills["adaptive"] = always(0.85)
    world.run(controller, 900)
    assert not controller.relearning("prj_a", "end_a")


def test_steady_traffic_raises_no_alarm() -> None:
    for seed in range(4):
        world = World(
            skills={"static": always(0.4), "adaptive": always(0.6), "memory": always(0.5)}, score=flat, seed=seed
        )
        controller = Controller(swept(world))
        for _ in range(10):
            world.run(controller, 200)
            assert not controller.relearning("prj_a", "end_a")


def test_another_version_is_judged_anew() -> None:
    world = World(skills={"static": always(0.5), "adaptive": always(0.1)}, score=flat)
    controller = Controller(swept(world))
    world.run(controller, 400)
    world.used.clear()
    world.skills["adaptive"], world.version = always(0.8), "ver_2"
    world.run(controller, 300)
    assert world.used["adaptive"] > 200


@given(
    mode=st.sampled_from(["off", "static", "adaptive"]),
    max_lookahead=st.integers(0, 20),
    remaining=st.integers(1, 20),
    memory=st.integers(0, 8),
    drafted=st.integers(0, 15),
    batch=st.integers(1, 20),
)
@settings(max_examples=150, deadline=None)
def test_no_limit_is_ever_exceeded(
    mode: Mode, max_lookahead: int, remaining: int, memory: int, drafted: int, batch: int
) -> None:
    controller = Controller(LatencyTable(max_batch=8))
    policy = SpeculationPolicy(mode, max_lookahead)
    sequences = [FakeSequence([1], slot, max_tokens=remaining, speculation=policy) for slot in range(batch)]
    recalled = Proposal(
        (1,) * memory, (0.9,) * memory, MEMORY[:memory], None, (Evidence("project", 24, 8, 8),) * memory
    )
    candidates = [Candidates(recalled if mode == "adaptive" else Proposal(), ("static",))] * batch
    for _ in range(3):
        plans = controller.plan(sequences, candidates)
        limit = 0 if mode == "off" else min(max_lookahead, remaining - 1)
        assert all(plan.lookahead <= max(0, limit) for plan in plans)
        proposals = [
            recalled.cut(plan.lookahead)
            if plan.source == "memory"
            else Proposal(
                (1,) * drafted,
                (0.99,) * drafted,
                STATIC[:drafted],
                alternatives=(3, 4) if drafted else (),
                alternative_confidences=(0.5, 0.4) if drafted else (),
            )
            for plan in plans
        ]
        kept = controller.cut(sequences, plans, proposals)
        assert all(0 <= len(one) <= max(0, limit) for one in kept)
        assert all(one or not one.alternatives for one in kept)  # they stand beside a first token
        outcomes = [StepOutcome(one, 0, (2,), plan=plan) for one, plan in zip(kept, plans, strict=True)]
        controller.observe(sequences, candidates, outcomes, StepTiming(score=0.02))


def test_a_proposal_that_was_drawn_at_random_is_verified_whole() -> None:
    torch = pytest.importorskip("torch")
    controller = Controller(LatencyTable())
    proposal = Proposal((1, 2, 3), (0.01, 0.01, 0.01), ("static",) * 3, torch.full((3, 4), 0.25))
    assert controller.cut([FakeSequence([1])], [Plan("static", 3)], [proposal]) == [proposal]


@pytest.mark.parametrize("score", [flat, stairs, dear])
def test_the_cut_buys_the_best_prefixes_of_the_whole_batch(score: Callable[[int, int], float]) -> None:
    controller = Controller(swept(World(skills={}, score=score, batch=2)))
    sequences = [FakeSequence([1], slot) for slot in range(2)]
    sure = Proposal((1,) * 8, (0.99,) * 8, ("static",) * 8)
    doubtful = Proposal((1,) * 8, (0.05,) * 8, ("static",) * 8)
    kept = controller.cut(sequences, [Plan("static", 8)] * 2, [sure, doubtful])
    assert len(kept[0]) >= len(kept[1])
    assert len(kept[1]) <= 1 or score is stairs


def test_a_calibration_that_has_become_too_low_sees_in_what_it_cuts_that_it_is() -> None:
    def dear_rows(batch: int, rows: int) -> float:
        return 0.02 + 0.004 * rows

    controller = Controller(swept(World(skills={}, score=dear_rows)))
    sequences, candidates = [FakeSequence([1])], [Candidates(neural=("static",))]
    # The alternatives are right when the chain isn't, so that a draft is always worth its while.
    proposal = Proposal((1,), (0.7,), ("static",), alternatives=(2, 3), alternative_confidences=(0.1, 0.1))

    def kept_after(steps: int, emitted: int) -> int:
        length = 0
        for _ in range(steps):
            (plan,) = controller.plan(sequences, candidates)
            (kept,) = controller.cut(sequences, [Plan("static", 1)], [proposal])
            accepted = int(emitted == 1 and len(kept) == 1)
            outcome = StepOutcome(kept, accepted, (1, 7)[: accepted + 1] if emitted == 1 else (emitted,), plan=plan)
            controller.observe(sequences, candidates, [outcome], StepTiming(score=dear_rows(1, kept.num_rows)))
            length = len(kept)
        return length

    assert kept_after(400, emitted=2) == 0
    assert kept_after(100, emitted=1) == 1


def test_alternatives_are_scored_while_the_target_prefers_them_often_enough() -> None:
    def dear_rows(batch: int, rows: int) -> float:
        return 0.02 + 0.005 * rows

    controller = Controller(swept(World(skills={}, score=dear_rows)))
    proposal = Proposal(
        (1, 1), (0.5, 0.4), ("static",) * 2, alternatives=(2, 3, 4), alternative_confidences=(0.3, 0.1, 0.0005)
    )
    sequences, candidates = [FakeSequence([1])], [Candidates(neural=("static",))]

    def after(steps: int, other: int) -> int:
        """The alternatives that are scored once the target has emitted the first draft token and `other` by turns."""
        num_scored = 0
        for step in range(steps):
            (plan,) = controller.plan(sequences, candidates)
            (kept,) = controller.cut(sequences, [Plan("static", 2)], [proposal])
            emitted, accepted = (1, min(1, len(kept))) if step % 2 else (other, 0)
            outcome = StepOutcome(kept, accepted, (emitted, 7), plan=plan)
            controller.observe(sequences, candidates, [outcome], StepTiming(score=dear_rows(1, kept.num_rows)))
            num_scored = len(kept.alternatives)
        return num_scored

    assert after(150, other=2) == 1  # the one that comes half of the time; the others are not worth a row
    assert after(400, other=9) == 0
    assert after(400, other=3) >= 1  # nobody scored it: what the target says is enough to tell
