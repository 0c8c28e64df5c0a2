"""The controllers that ours is compared with do what they are said to do."""

from __future__ import annotations

from dataplane.speculation.types import Candidates, Proposal, SpeculationPolicy, StepOutcome, StepTiming
from infra.bench.controllers import CalibrationTally, FixedController, MovingAverageController
from tests.fakes import FakeSequence


def outcome(accepted: int) -> StepOutcome:
    return StepOutcome(Proposal(), accepted, (1,) * (accepted + 1))


def test_a_fixed_lookahead_stays_within_the_policy_and_the_request() -> None:
    controller = FixedController("static", 6)
    sequences = [
        FakeSequence([1], max_tokens=64),
        FakeSequence([1], max_tokens=4),
        FakeSequence([1], speculation=SpeculationPolicy("static", 2)),
        FakeSequence([1], speculation=SpeculationPolicy("off")),
    ]
    plans = controller.plan(sequences, [Candidates()] * 4)
    assert [plan.lookahead for plan in plans] == [6, 3, 2, 0]
    proposals = [Proposal((1, 2), (0.1, 0.1), ("static", "static"))]
    assert controller.cut(sequences, plans, proposals) == proposals


def test_the_moving_average_follows_what_was_accepted() -> None:
    controller = MovingAverageController()

    def after(accepted: int, steps: int) -> int:
        for _ in range(steps):
            controller.observe([], [], [outcome(accepted)], StepTiming())
        return controller.lookahead

    assert controller.lookahead == 3
    assert after(7, 30) == 7
    assert after(0, 40) == 1
    assert after(2, 40) == 3


def test_the_calibration_error_is_the_distance_of_prediction_and_outcome() -> None:
    tally = CalibrationTally()
    assert tally.error is None
    for accepted in (True, True, True, False):
        tally.add(0.75, accepted)
    assert tally.error == 0.0
    for _ in range(4):
        tally.add(1.0, False)
    assert tally.error == 0.5
