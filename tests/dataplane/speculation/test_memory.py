"""The tenant memory: what it recalls, what it forgets, what it never shares."""

from __future__ import annotations

import pytest

from dataplane.speculation.drafters.context_table import BYTES_PER_LINE, ContextTable, context_keys
from dataplane.speculation.drafters.memory import Evidence, TenantMemory
from dataplane.speculation.types import SpeculationPolicy
from tests.fakes import FakeSequence

REMEMBER = SpeculationPolicy("adaptive", 8, remember=True)
CANARY = list(range(500, 540))


def serve(memory: TenantMemory, project_id: str, answer: list[int], *, slot: int = 0, remember: bool = True) -> None:
    """One request of the project with this answer."""
    sequence = FakeSequence([1, 2, 3], slot, project_id, speculation=SpeculationPolicy("adaptive", 8, remember))
    memory.propose(sequence, 8)
    for token in answer:
        sequence.tokens.append(token)
        memory.propose(sequence, 8)
    memory.release(sequence)


def recalled(memory: TenantMemory, project_id: str, context: list[int], lookahead: int = 8) -> list[int]:
    sequence = FakeSequence([1, 2, 3, *context], slot=99, project_id=project_id, speculation=REMEMBER)
    proposal = memory.propose(sequence, lookahead)
    memory.release(sequence)
    return list(proposal.tokens)


def test_what_a_request_said_before_is_proposed_within_the_same_request() -> None:
    sequence = FakeSequence([7, 8, 9, 10, 11, 7, 8])
    proposal = TenantMemory().propose(sequence, 3)
    assert proposal.tokens == (9, 10, 11)
    assert proposal.sources == ("memory",) * 3
    assert isinstance(proposal.evidence[0], Evidence)
    assert proposal.evidence[0].scope == "request"


def test_an_earlier_answer_is_replayed_for_the_same_project() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", CANARY)
    assert recalled(memory, "prj_a", CANARY[:4]) == CANARY[4:12]


def test_the_first_token_of_an_answer_is_learned_too() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", CANARY)
    assert recalled(memory, "prj_a", [], 2) == CANARY[:2]


def test_without_consent_nothing_outlives_the_request() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", CANARY, remember=False)
    assert recalled(memory, "prj_a", CANARY[:4]) == []
    assert memory.bytes_of("prj_a") == 0
    assert memory.num_bytes == 0


def test_one_project_never_sees_what_another_said() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", CANARY)
    for start in range(len(CANARY) - 4):
        assert recalled(memory, "prj_b", CANARY[start : start + 4]) == []


def test_a_purged_project_is_forgotten() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", CANARY)
    memory.purge("prj_a")
    assert recalled(memory, "prj_a", CANARY[:4]) == []
    assert memory.bytes_of("prj_a") == 0


def test_a_request_that_runs_during_a_purge_leaves_nothing_behind() -> None:
    memory = TenantMemory()
    sequence = FakeSequence([1, 2, 3], project_id="prj_a", speculation=REMEMBER)
    memory.propose(sequence, 8)
    memory.purge("prj_a")
    sequence.tokens += CANARY
    memory.propose(sequence, 8)
    memory.release(sequence)
    assert memory.bytes_of("prj_a") == 0


def test_the_most_frequent_continuation_wins_and_a_new_habit_replaces_an_old_one() -> None:
    table = ContextTable(1 << 16)
    for token in (5, 5, 5, 6):
        table.learn([77], token)
    assert table.recall(77) == (5, 3, 4)
    for _ in range(6):
        table.learn([77], 6)
    found = table.recall(77)
    assert found is not None
    assert found[0] == 6


def test_the_longest_context_decides() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", [20, 21, 22, 30])
    serve(memory, "prj_a", [25, 21, 22, 31])
    serve(memory, "prj_a", [25, 21, 22, 31])
    assert recalled(memory, "prj_a", [20, 21, 22], 1) == [30]
    assert recalled(memory, "prj_a", [25, 21, 22], 1) == [31]


def test_what_the_request_itself_does_beats_a_mixed_habit_of_the_project() -> None:
    memory = TenantMemory()
    for token in (30, 31, 32, 33):
        serve(memory, "prj_a", [20, 21, 22, token])
    sequence = FakeSequence([1, 22, 40, 50, 20, 21, 22], slot=9, project_id="prj_a", speculation=REMEMBER)
    proposal = memory.propose(sequence, 1)
    assert proposal.tokens == (40,)


def test_counters_never_overflow() -> None:
    table = ContextTable(1 << 12)
    for index in range(1000):
        table.learn([34], 7 if index % 10 else 8)
    found = table.recall(34)
    assert found is not None
    token, count, total = found
    assert token == 7
    assert 0 < count <= total <= 64


@pytest.mark.parametrize("max_bytes", [1_000, 4_096, 100_000])
def test_a_table_stays_within_its_quota_whatever_it_learns(max_bytes: int) -> None:
    table = ContextTable(max_bytes)
    window: tuple[int, ...] = ()
    for token in range(5_000):
        table.learn(context_keys(window), token)
        window = (*window[-23:], token)
    assert table.num_bytes <= max_bytes
    assert table.num_bytes % BYTES_PER_LINE == 0


def test_all_projects_together_stay_within_the_quota_and_the_least_recently_used_goes_first() -> None:
    memory = TenantMemory(project_bytes=64 << 10, max_bytes=50 << 10)  # three new tables of 16 KB
    for project_id in ("prj_a", "prj_b", "prj_c", "prj_a", "prj_d"):
        serve(memory, project_id, CANARY)
        assert memory.num_bytes <= memory.max_bytes
    assert memory.bytes_of("prj_b") == 0
    assert recalled(memory, "prj_a", CANARY[:4])


def test_a_cold_memory_starts_from_what_it_is_given_and_a_warm_one_keeps_its_own() -> None:
    memory = TenantMemory()
    memory.adopt("prj_a", memory.table_of([CANARY]))
    serve(memory, "prj_a", [90])
    assert recalled(memory, "prj_a", CANARY[:4]) == CANARY[4:12]
    memory.adopt("prj_a", memory.table_of([[1, 2, 3]]))
    assert recalled(memory, "prj_a", CANARY[:4]) == CANARY[4:12]


def test_what_a_memory_is_given_is_not_used_without_consent_nor_after_a_purge() -> None:
    memory = TenantMemory()
    memory.adopt("prj_a", memory.table_of([CANARY]))
    serve(memory, "prj_a", [90], remember=False)
    assert recalled(memory, "prj_a", CANARY[:4]) == []
    memory.purge("prj_a")
    serve(memory, "prj_a", [90])
    assert recalled(memory, "prj_a", CANARY[:4]) == []


def test_drafted_tokens_are_continued() -> None:
    memory = TenantMemory()
    serve(memory, "prj_a", CANARY)
    sequence = FakeSequence([1, 2, 3], slot=5, project_id="prj_a", speculation=REMEMBER)
    assert memory.propose(sequence, 2, CANARY[:3]).tokens == tuple(CANARY[3:5])


def test_end_users_with_memories_of_their_own_share_nothing_and_are_purged_with_their_project() -> None:
    memory = TenantMemory()

    def serve_for(person: str, answer: list[int]) -> list[int]:
        """What the memory proposes to the person first, before the answer is learned."""
        sequence = FakeSequence([1, 2, 3], project_id="prj_a", end_user_id=person, speculation=REMEMBER)
        first = list(memory.propose(sequence, 8).tokens)
        sequence.tokens += answer
        memory.release(sequence)
        return first

    assert serve_for("eu_1", CANARY) == []
    assert serve_for("eu_2", CANARY[:3]) == [] and recalled(memory, "prj_a", []) == []
    assert serve_for("eu_1", []) == CANARY[:8]
    serve(memory, "prj_ab", CANARY)
    memory.purge("prj_a")
    assert serve_for("eu_1", []) == [] and serve_for("eu_2", []) == []
    assert recalled(memory, "prj_ab", [], 2) == CANARY[:2]
