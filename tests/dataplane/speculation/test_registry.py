"""All drafters behind one face: who may draft, what reaches them, and drafters that fail."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.memory_store import MemoryStore
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.types import Plan, Proposal, SpeculationPolicy
from tests.dataplane.speculation.test_deltas import desired
from tests.fakes import FakeDrafter, FakeSequence, FakeTarget


def recalled(drafters: DrafterSet, project_id: str) -> tuple[int, ...]:
    """What a request of the project is offered once its output has begun."""
    sequence = FakeSequence([1, 2], project_id=project_id, speculation=SpeculationPolicy(remember=True))
    sequence.tokens += [40, 41]
    (candidates,) = drafters.candidates([sequence])
    drafters.release(sequence)
    return candidates.memory.tokens


def test_a_cold_memory_is_warmed_by_the_version_of_its_own_project(tmp_path: Path) -> None:
    drafters = DrafterSet(FakeDrafter(FakeTarget()), vocab_size=100)
    drafters.refresh(desired(tmp_path, end_a="one"))
    drafters.swap_if_ready()
    assert recalled(drafters, "prj_end_a") == (42, 43, 44)
    assert recalled(drafters, "prj_other") == ()


def test_what_was_purged_does_not_come_back_with_the_next_refresh(tmp_path: Path) -> None:
    drafters = DrafterSet(FakeDrafter(FakeTarget()), vocab_size=100)
    drafters.refresh(desired(tmp_path, end_a="one"))
    drafters.swap_if_ready()
    drafters.purge("prj_end_a")
    drafters.swap_if_ready()
    drafters.refresh(desired(tmp_path, end_a="one", end_b="two"))
    drafters.swap_if_ready()
    assert recalled(drafters, "prj_end_a") == ()


def test_what_was_to_warm_a_memory_before_a_purge_is_purged_with_it(tmp_path: Path) -> None:
    drafters = DrafterSet(FakeDrafter(FakeTarget()), vocab_size=100)
    drafters.refresh(desired(tmp_path, end_a="one"))
    drafters.purge("prj_end_a")  # no request came in between
    drafters.swap_if_ready()
    assert recalled(drafters, "prj_end_a") == ()


def test_closing_puts_nothing_on_the_disk_that_was_purged_since_the_last_step(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path)
    drafters = DrafterSet(memory=TenantMemory(store=store), vocab_size=100)
    for project_id in ("prj_a", "prj_b"):
        recalled(drafters, project_id)
    drafters.purge("prj_a")
    drafters.close()
    assert drafters.memory.bytes_of("prj_a") == 0
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("mode", "neural"), [("off", ()), ("static", ("static",)), ("adaptive", ("static", "adaptive"))]
)
def test_the_mode_decides_who_may_draft(mode: str, neural: tuple[str, ...], tmp_path: Path) -> None:
    drafters = DrafterSet(FakeDrafter(FakeTarget()), vocab_size=12)
    drafters.refresh(desired(tmp_path, end_a="one"))
    drafters.swap_if_ready()
    policy = SpeculationPolicy(mode)  # type: ignore[arg-type]
    (candidates,) = drafters.candidates([FakeSequence([5, 6, 7, 5, 6], speculation=policy)])
    assert candidates.neural == neural
    assert bool(candidates.memory) == (mode == "adaptive")


def test_only_the_request_whose_drafting_fails_loses_its_drafts() -> None:
    class Picky(FakeDrafter):
        def propose(self, sequences, lookaheads, deltas, **more):  # type: ignore[no-untyped-def]
            if any(sequence.slot == 1 for sequence in sequences):
                raise RuntimeError("slot 1")
            return super().propose(sequences, lookaheads, deltas, **more)

    drafters = DrafterSet(Picky(FakeTarget()), vocab_size=12)
    sequences = [FakeSequence([1, 2, 3], slot=slot) for slot in range(3)]
    plans = [Plan("static", 3)] * 3
    proposals = drafters.propose(sequences, plans, drafters.candidates(sequences))
    assert [len(proposal) for proposal in proposals] == [3, 0, 3]
    assert drafters.errors == 1
    assert [candidate.neural for candidate in drafters.candidates(sequences)] == [("static",), (), ("static",)]
    drafters.release(sequences[1])
    assert drafters.candidates(sequences)[1].neural == ("static",)


def test_committed_positions_reach_the_drafter_when_it_drafts_and_all_at_once() -> None:
    drafter = FakeDrafter(FakeTarget())
    drafters, sequence = DrafterSet(drafter, vocab_size=12), FakeSequence([1, 2, 3, 4, 5])
    drafters.extend(sequence, 0, [2, 3], torch.zeros(2, 3))
    drafters.extend(sequence, 2, [4, 5], torch.zeros(2, 3))
    assert drafter.extended == {}
    drafters.propose([sequence], [Plan("static", 2)], drafters.candidates([sequence]))
    assert drafter.extended == {0: 4}
    drafters.extend(sequence, 4, [1] * 300, torch.zeros(300, 3))
    assert drafter.extended == {0: 304}  # what waits is bounded


def test_a_drafter_that_cannot_follow_is_not_asked_again_in_this_request() -> None:
    class Lost(FakeDrafter):
        def extend(self, sequence, start, tokens, features):  # type: ignore[no-untyped-def]
            raise RuntimeError("gap")

    drafters, sequence = DrafterSet(Lost(FakeTarget()), vocab_size=12), FakeSequence([1, 2, 3])
    drafters.extend(sequence, 0, [2], torch.zeros(1, 3))
    assert drafters.propose([sequence], [Plan("static", 2)], drafters.candidates([sequence])) == [Proposal()]
    assert drafters.candidates([sequence])[0].neural == ()
    assert drafters.errors == 1


def test_tokens_that_the_memory_learned_with_another_vocabulary_never_reach_the_target() -> None:
    memory = TenantMemory()
    before = FakeSequence(
        [1, 2, 3, 99, 4], slot=1, speculation=SpeculationPolicy("adaptive", 8, True), num_prompt_tokens=1
    )
    memory.propose(before, 1)
    memory.release(before)
    sequence = FakeSequence([5, 1, 2], speculation=SpeculationPolicy("adaptive", 8))
    (all_of_it,) = DrafterSet(memory=memory, vocab_size=100).candidates([sequence])
    assert all_of_it.memory.tokens[:3] == (3, 99, 4)
    (known,) = DrafterSet(memory=memory, vocab_size=12).candidates([sequence])
    assert known.memory.tokens == (3,)


@pytest.mark.parametrize(
    "proposal",
    [
        Proposal((99,), (0.5,), ("static",)),
        Proposal((-1,), (0.5,), ("static",)),
        Proposal((1, 2, 3, 4), (0.5,) * 4, ("static",) * 4),
        Proposal((1, 2), (0.5,), ("static",)),
        Proposal((1,), (0.5,), ("static",), torch.ones(1, 5)),
        Proposal((1,), (0.5,), ("static",), torch.full((1, 12), math.nan)),
        Proposal((1,), (math.nan,), ("static",)),
        Proposal((1,), (1.5,), ("static",)),
        Proposal((1,), (0.5,), ("memory",)),
    ],
    ids=[
        "beyond the vocabulary",
        "negative",
        "longer than asked",
        "ragged",
        "probabilities of another vocabulary",
        "probabilities that are no numbers",
        "a confidence that is no number",
        "a confidence beyond certainty",
        "in the memory's name",
    ],
)
def test_a_malformed_proposal_never_reaches_the_target(proposal: Proposal) -> None:
    class Malformed(FakeDrafter):
        def propose(self, sequences, lookaheads, deltas):  # type: ignore[no-untyped-def]
            return [proposal] * len(sequences)

    drafters = DrafterSet(Malformed(FakeTarget()), vocab_size=12)
    sequence = FakeSequence([1, 2, 3])
    (checked,) = drafters.propose([sequence], [Plan("static", 3)], drafters.candidates([sequence]))
    assert len(checked) == 0
    assert drafters.errors == 1
