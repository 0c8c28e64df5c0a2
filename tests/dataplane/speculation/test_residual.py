"""Residual logit memory: nothing known changes nothing; what a tenant's target says wins over a draft that is wrong."""

from __future__ import annotations

import torch

from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.drafters.residual import ResidualMemory
from dataplane.speculation.registry import DrafterSet, Tiers
from dataplane.speculation.step import speculative_step
from dataplane.speculation.types import EMPTY_PROPOSAL, Plan, Proposal, SpeculationPolicy
from tests.dataplane.speculation.test_memory import CANARY, REMEMBER, serve
from tests.fakes import FakeDrafter, FakeSequence, FakeTarget


def draft(*tokens: int, confidence: float = 0.4) -> Proposal:
    return Proposal(tokens, (confidence,) * len(tokens), ("static",) * len(tokens))


def learned() -> TenantMemory:
    memory = TenantMemory()
    for _ in range(3):
        serve(memory, "prj_a", CANARY)
    return memory


def at(context: list[int], project_id: str = "prj_a") -> FakeSequence:
    return FakeSequence([1, 2, 3, *context], slot=9, project_id=project_id, speculation=REMEMBER)


def test_an_empty_memory_leaves_tokens_and_confidences_as_they_are() -> None:
    residual, proposal = ResidualMemory(TenantMemory()), draft(7, 8, 9, confidence=0.123456789)
    mixed, turned = residual.mix(FakeSequence([1, 2, 3]), proposal)
    assert (mixed.tokens, mixed.confidences, turned) == (proposal.tokens, proposal.confidences, False)


def test_a_draft_that_the_tenants_habit_contradicts_takes_its_turn_there() -> None:
    residual = ResidualMemory(learned())
    mixed, turned = residual.mix(at(CANARY[:6]), draft(CANARY[6], 77, 78))
    assert mixed.tokens == (CANARY[6], CANARY[7])
    assert turned
    assert mixed.sources == ("adaptive", "adaptive")


def test_a_draft_that_the_tenants_habit_confirms_is_believed_more() -> None:
    mixed, turned = ResidualMemory(learned()).mix(at(CANARY[:6]), draft(*CANARY[6:9]))
    assert not turned
    assert all(confidence > 0.4 for confidence in mixed.confidences)
    assert all(confidence <= 1.0 for confidence in mixed.confidences)


def test_another_projects_habits_change_nothing() -> None:
    mixed, turned = ResidualMemory(learned()).mix(at(CANARY[:6], "prj_b"), draft(CANARY[6], 77))
    assert (mixed.tokens, mixed.confidences, turned) == ((CANARY[6], 77), (0.4, 0.4), False)


def test_whoever_is_right_gains_weight_and_nobody_loses_all_of_it() -> None:
    memory = learned()
    residual = ResidualMemory(memory)
    for start in range(4, 30):
        sequence = at(CANARY[:start])
        residual.mix(sequence, draft(77))  # the drafter is wrong every time
        residual.observe(sequence, [CANARY[start]])
        memory.release(sequence)
    weights = residual.weights_of("prj_a")
    assert weights[0] < 0.01
    assert min(weights) > 0.001
    assert abs(sum(weights) - 1) < 1e-9
    residual.purge("prj_a")
    assert len(set(residual.weights_of("prj_a"))) == 1


def test_each_tier_can_be_switched_off() -> None:
    target = FakeTarget()
    sequence = FakeSequence([5, 6, 7, 5, 6])
    tiers = Tiers(residual=True)
    everything = DrafterSet(FakeDrafter(target), vocab_size=12, tiers=tiers).candidates([sequence])[0]
    assert everything.neural == ("static", "adaptive")
    assert everything.memory
    nothing = DrafterSet(FakeDrafter(target), vocab_size=12, tiers=Tiers(memory=False, residual=False, delta=False))
    (candidate,) = nothing.candidates([sequence])
    assert (candidate.neural, candidate.memory) == (("static",), EMPTY_PROPOSAL)


def test_a_mixed_draft_goes_on_with_the_memory_after_its_turn() -> None:
    class Stubborn(FakeDrafter):
        def propose(self, sequences, lookaheads, deltas, **_):  # type: ignore[no-untyped-def]
            return [draft(*[77] * lookahead) for lookahead in lookaheads]

    drafters = DrafterSet(Stubborn(FakeTarget()), learned(), vocab_size=600, tiers=Tiers(residual=True))
    sequence = at(CANARY[:6])
    sequence.max_tokens = 64
    (proposal,) = drafters.propose([sequence], [Plan("adaptive", 8)], drafters.candidates([sequence]))
    assert list(proposal.tokens) == CANARY[6:14]
    assert proposal.sources == ("adaptive", *["memory"] * 7)


def test_output_is_the_targets_own_while_every_tier_learns() -> None:
    target = FakeTarget(12, seed=4)

    def serve_all(drafters: DrafterSet, mode: str) -> list[list[int]]:
        outputs = []
        for request in range(12):
            policy = SpeculationPolicy(mode, 8, remember=True)  # type: ignore[arg-type]
            sequence = FakeSequence([request % 4, 1, 2], speculation=policy, max_tokens=40)
            target.committed.clear()
            while sequence.num_remaining > 0:
                ((outcome,), _) = speculative_step([sequence], target, drafters, controller)
                sequence.tokens += outcome.new_tokens
            drafters.release(sequence)
            outputs.append(sequence.output)
        return outputs

    controller = Controller()
    plain = serve_all(DrafterSet(vocab_size=12), "off")
    drafters = DrafterSet(FakeDrafter(target, skill=0.6), vocab_size=12, tiers=Tiers(residual=True))
    assert serve_all(drafters, "adaptive") == plain
    assert drafters.errors == 0
    assert drafters.residual is not None
    assert torch.isfinite(torch.tensor(drafters.residual.weights_of("prj_a"))).all()
