"""Drafters come and go without the step noticing: hot swaps, refusals, limits, and drafters that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dataplane.speculation.registry import DeltaRegistry, Desired, DrafterSet
from dataplane.speculation.types import Plan, Proposal, SpeculationPolicy
from tests.fakes import FakeDrafter, FakeSequence, FakeTarget

load = FakeDrafter(FakeTarget()).load_delta


def desired(folder: Path, **versions: str) -> dict[str, Desired]:
    """endpoint=content: the version is named after its content, and so is its file."""
    wanted = {}
    for endpoint_id, content in versions.items():
        path = folder / content[:40]
        path.write_text(content)
        wanted[endpoint_id] = Desired(f"prj_{endpoint_id}", f"ver_{content[:40]}", path)
    return wanted


def test_a_version_drafts_only_after_the_swap_at_a_step_boundary(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    (report,) = registry.refresh(desired(tmp_path, end_a="one"))
    assert (report.state, report.speculator_version_id) == ("loaded", "ver_one")
    assert registry.of("end_a") is None
    registry.swap_if_ready()
    assert registry.version_of("end_a") == "ver_one"
    assert registry.of("end_b") is None


def test_a_version_that_cannot_be_loaded_is_refused_with_its_reason_and_the_old_one_stays(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    registry.refresh(desired(tmp_path, end_a="one"))
    registry.swap_if_ready()
    report = {one.state: one for one in registry.refresh(desired(tmp_path, end_a="corrupt two"))}
    registry.swap_if_ready()
    assert report["refused"].speculator_version_id == "ver_corrupt two"
    assert "checksum" in report["refused"].reason
    assert report["loaded"].speculator_version_id == "ver_one"
    assert registry.version_of("end_a") == "ver_one"


def test_an_artifact_that_has_not_arrived_is_loaded_once_it_has(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    late = {"end_a": Desired("prj_a", "ver_one", tmp_path / "late")}
    (report,) = registry.refresh(late)
    assert (report.state, report.reason) == ("refused", "the artifact is not on this node")
    (tmp_path / "late").write_text("one")
    (report,) = registry.refresh(late)
    assert report.state == "loaded"


def test_an_endpoint_that_wants_no_version_any_more_drafts_statically(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    registry.refresh(desired(tmp_path, end_a="one"))
    registry.swap_if_ready()
    registry.refresh({})
    registry.swap_if_ready()
    assert registry.of("end_a") is None


def test_the_endpoints_that_drafted_last_stay_when_memory_is_short(tmp_path: Path) -> None:
    registry = DeltaRegistry(load, max_bytes=250)
    wanted = desired(tmp_path, end_a="a" * 100, end_b="b" * 100)
    registry.refresh(wanted)
    registry.swap_if_ready()
    registry.of("end_b")
    registry.of("end_a")
    wanted.update(desired(tmp_path, end_c="c" * 100))
    registry.refresh(wanted)
    registry.swap_if_ready()
    assert [endpoint_id for endpoint_id in sorted(wanted) if registry.version_of(endpoint_id)] == ["end_a", "end_c"]
    registry.of("end_b")  # a request comes: the next refresh brings it back
    registry.of("end_a")
    registry.refresh(wanted)
    registry.swap_if_ready()
    assert [endpoint_id for endpoint_id in sorted(wanted) if registry.version_of(endpoint_id)] == ["end_a", "end_b"]


def test_a_cold_memory_is_warmed_by_the_version_of_its_own_project(tmp_path: Path) -> None:
    drafters = DrafterSet(FakeDrafter(FakeTarget()), vocab_size=100)
    drafters.refresh(desired(tmp_path, end_a="one"))
    drafters.swap_if_ready()
    sequence = FakeSequence([1, 40, 41], project_id="prj_end_a")
    stranger = FakeSequence([1, 40, 41], slot=1, project_id="prj_other")
    own, other = drafters.candidates([sequence, stranger])
    assert own.memory.tokens == (42, 43, 44)
    assert other.memory.tokens == ()


def test_a_purge_takes_effect_at_the_next_step_boundary(tmp_path: Path) -> None:
    drafters = DrafterSet(FakeDrafter(FakeTarget()), vocab_size=100)
    drafters.refresh(desired(tmp_path, end_a="one"))
    drafters.swap_if_ready()
    drafters.purge("prj_end_a")
    drafters.swap_if_ready()
    (candidates,) = drafters.candidates([FakeSequence([1, 40, 41], project_id="prj_end_a")])
    assert candidates.memory.tokens == ()


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
        def propose(self, sequences, lookaheads, deltas):  # type: ignore[no-untyped-def]
            if any(sequence.slot == 1 for sequence in sequences):
                raise RuntimeError("slot 1")
            return super().propose(sequences, lookaheads, deltas)

    drafters = DrafterSet(Picky(FakeTarget()), vocab_size=12)
    sequences = [FakeSequence([1, 2, 3], slot=slot) for slot in range(3)]
    plans = [Plan("static", 3)] * 3
    proposals = drafters.propose(sequences, plans, drafters.candidates(sequences))
    assert [len(proposal) for proposal in proposals] == [3, 0, 3]
    assert drafters.errors == 1
    assert [candidate.neural for candidate in drafters.candidates(sequences)] == [("static",), (), ("static",)]
    drafters.release(sequences[1])
    assert drafters.candidates(sequences)[1].neural == ("static",)


@pytest.mark.parametrize(
    "proposal",
    [
        Proposal((99,), (0.5,), ("static",)),
        Proposal((-1,), (0.5,), ("static",)),
        Proposal((1, 2, 3, 4), (0.5,) * 4, ("static",) * 4),
        Proposal((1, 2), (0.5,), ("static",)),
        Proposal((1,), (0.5,), ("static",), torch.ones(1, 5)),
    ],
    ids=["beyond the vocabulary", "negative", "longer than asked", "ragged", "probabilities of another vocabulary"],
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
