from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.common.errors import Invalid
from control_plane.endpoints.comparison import Verdict
from control_plane.endpoints.models import ROLLOUT_ENDED, ROLLOUT_TRANSITIONS, WHOLE
from control_plane.endpoints.rollout_plan import DEFAULTS, SURGE_SECONDS, Plan, Progress, Sight, make_plan, next_move

CANARY = DEFAULTS["canary"]
WORSE = Verdict(True, "The time per token rose.")


def test_what_is_not_given_is_the_strategys_default() -> None:
    assert make_plan("canary", observe_seconds=5) == Plan("canary", CANARY.steps, 5, CANARY.min_requests)
    assert make_plan("rolling", steps_percent=[12.5, 100]).steps == (1_250, WHOLE)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"strategy": "blue-green"}, "strategy"),
        ({"strategy": "immediate", "observe_seconds": 1}, "strategy"),
        ({"strategy": "canary", "steps_percent": []}, "steps_percent"),
        ({"strategy": "canary", "steps_percent": [50, 5, 100]}, "steps_percent"),
        ({"strategy": "canary", "steps_percent": [50, 50, 100]}, "steps_percent"),
        ({"strategy": "canary", "steps_percent": [5, 50]}, "steps_percent"),
        ({"strategy": "canary", "steps_percent": [0.001, 100]}, "steps_percent"),
        ({"strategy": "canary", "observe_seconds": -1}, "observe_seconds"),
        ({"strategy": "canary", "min_requests": 10**9}, "min_requests"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        make_plan(**given)
    assert refusal.value.pointer == f"/rollout/{field}"


def _at(state: str, **changes: Any) -> Progress:
    return Progress(**{"state": state, "step": 1, "plan": CANARY, "seconds": 0.0, **changes})


def test_a_step_ends_when_it_was_seen_long_enough_and_by_enough_requests() -> None:
    enough = Sight(ready=1, applied=True, requests=CANARY.min_requests)
    assert next_move(_at("observing", seconds=CANARY.observe_seconds - 1), enough) is None
    few = Sight(ready=1, applied=True, requests=CANARY.min_requests - 1)
    assert next_move(_at("observing", seconds=1e6), few) is None
    move = next_move(_at("observing", seconds=CANARY.observe_seconds), enough)
    assert move is not None and (move.state, move.step) == ("shifting", 2)
    last = next_move(_at("observing", seconds=CANARY.observe_seconds, step=4), enough)
    assert last is not None and last.state == "completed"


def test_nothing_is_shifted_before_all_ready_nodes_have_applied_it() -> None:
    behind = Sight(ready=2, applied=False)
    assert next_move(_at("surging", step=0), behind) is None
    assert next_move(_at("shifting"), behind) is None
    late = next_move(_at("surging", step=0, seconds=SURGE_SECONDS + 1), behind)
    assert late is not None and late.state == "failed"


@pytest.mark.parametrize("state", ["surging", "shifting", "observing", "paused"])
def test_what_is_worse_or_refused_is_aborted_from_every_open_state(state: str) -> None:
    worse = next_move(_at(state), Sight(ready=1, applied=True, verdict=WORSE))
    refused = next_move(_at(state), Sight(ready=1, applied=True, refusal="bad digest"))
    assert worse is not None and (worse.state, worse.code) == ("aborting", "regressed")
    assert refused is not None and (refused.state, refused.code) == ("aborting", "refused")


def test_a_hurried_rollout_goes_to_the_last_step_and_ends_there() -> None:
    seen = Sight(ready=1, applied=True)
    jump = next_move(_at("observing", hurried=True), seen)
    assert jump is not None and (jump.state, jump.step) == ("shifting", 4)
    end = next_move(_at("observing", step=4, hurried=True), seen)
    assert end is not None and end.state == "completed"


def test_an_abort_ends_when_nodes_have_it_or_when_there_are_none() -> None:
    assert next_move(_at("aborting"), Sight(ready=1, applied=False)) is None
    for sight in (Sight(ready=1, applied=True), Sight(ready=0, applied=False)):
        move = next_move(_at("aborting"), sight)
        assert move is not None and move.state == "aborted"


def test_every_state_can_be_reached_and_every_target_is_a_state() -> None:
    targets = set().union(*ROLLOUT_TRANSITIONS.values())
    assert targets <= set(ROLLOUT_TRANSITIONS)
    assert set(ROLLOUT_TRANSITIONS) - targets == {"pending"}
    assert {state for state, after in ROLLOUT_TRANSITIONS.items() if not after} == set(ROLLOUT_ENDED)


@given(
    state=st.sampled_from(sorted(ROLLOUT_TRANSITIONS)),
    plan=st.sampled_from(sorted(DEFAULTS.values(), key=lambda plan: plan.strategy)),
    data=st.data(),
)
def test_every_move_is_legal_and_the_moves_come_to_an_end(state: str, plan: Plan, data: st.DataObject) -> None:
    num = len(plan.steps)
    step = 0 if state in ("pending", "surging") else data.draw(st.integers(1, num))
    sight = Sight(
        ready=data.draw(st.integers(0, 3)),
        applied=data.draw(st.booleans()),
        refusal=data.draw(st.sampled_from(["", "no"])),
        requests=data.draw(st.integers(0, 100)),
        verdict=data.draw(st.sampled_from([Verdict(False, ""), WORSE])),
    )
    at = Progress(state, step, plan, data.draw(st.floats(0, 1000)), data.draw(st.booleans()))
    for _ in range(3 * num + 5):
        move = next_move(at, sight)
        if move is None:
            break
        assert move.state in ROLLOUT_TRANSITIONS[at.state], (at, move)
        assert move.step in range(at.step + 1, num + 1) if move.state == "shifting" else move.step == 0
        at = Progress(move.state, move.step or at.step, plan, at.seconds, at.hurried)
    else:
        raise AssertionError("it never comes to rest")
    if sight.applied and (sight.refusal or sight.verdict.worse):
        assert at.state in ROLLOUT_ENDED or state == "pending"
