"""The floor's ledger: a hold-out of one request in a hundred, and what deviating from the floor earns or owes."""

from __future__ import annotations

from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.memory import Evidence
from dataplane.speculation.lanes import FloorLedger
from dataplane.speculation.types import Candidates, Plan, Proposal, StepOutcome, StepTiming
from tests.fakes import FakeSequence

MEMORY = Proposal((1,) * 8, (0.9,) * 8, ("memory",) * 8, None, (Evidence("project", 24, 16, 16),) * 8)


def test_one_request_in_a_hundred_is_held_out() -> None:
    ledger = FloorLedger()
    assert sum(ledger.admit() for _ in range(1_000)) == 10


def test_a_lane_that_is_slower_than_its_hold_out_is_overdrawn_and_recovers() -> None:
    ledger = FloorLedger()
    for _ in range(60):
        ledger.settle(2, 0.01, held_out=True)
    for _ in range(60):
        ledger.settle(1, 0.01, held_out=False)
    assert ledger.is_overdrawn
    for _ in range(60):
        ledger.settle(4, 0.01, held_out=False)
    assert not ledger.is_overdrawn


def test_without_a_hold_out_nothing_is_owed() -> None:
    ledger = FloorLedger()
    for _ in range(100):
        ledger.settle(1, 1.0, held_out=False)
    assert ledger.credit == 0


def serve(controller: Controller, requests: int) -> list[tuple[Plan, str]]:
    """First steps of `requests` requests whose memory is always right."""
    seen = []
    for _ in range(requests):
        sequences = [FakeSequence([1, 2, 3])]
        candidates = [Candidates(MEMORY, ("static",))]
        plans = controller.plan(sequences, candidates)
        proposals = [MEMORY.cut(plan.lookahead) if plan.source == "memory" else Proposal() for plan in plans]
        (kept,) = controller.cut(sequences, plans, proposals)
        why = controller.explain(0)
        assert 1 <= why.tokens <= 1 + len(kept)
        assert why.seconds > 0
        outcome = StepOutcome(kept, len(kept), (1,) * (len(kept) + 1), plan=plans[0])
        controller.observe(sequences, candidates, [outcome], StepTiming(score=0.02))
        seen.append((plans[0], why.reason))
    return seen


def test_the_hold_out_sees_the_floor_only_and_the_others_say_why_they_deviate() -> None:
    seen = serve(Controller(), 300)
    assert [reason for _, reason in seen].count("hold-out") == 3
    assert all(plan.source in ("none", "static") for plan, reason in seen if reason == "hold-out")
    assert [plan.source for plan, reason in seen if reason == "better"].count("memory") > 200
