"""The tenant memory beyond a restart: what comes back, what must not, and what a broken disk can't do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataplane.speculation.drafters.memory import TenantMemory
from dataplane.speculation.memory_store import FORMAT, MemoryStore
from tests.dataplane.speculation.test_memory import CANARY, recalled, serve


def memory_over(folder: Path, **options: int | str) -> TenantMemory:
    return TenantMemory(store=MemoryStore(folder, **options))  # type: ignore[arg-type]


def restarted(folder: Path, **options: int | str) -> TenantMemory:
    """A new process over the folder; the project's first request makes its table come back."""
    memory = memory_over(folder, **options)
    serve(memory, "prj_a", [90])
    assert isinstance(memory.store, MemoryStore)
    memory.store.flush()
    memory.restore()
    serve(memory, "prj_a", [91])
    return memory


def test_what_was_learned_survives_a_restart(tmp_path: Path) -> None:
    memory = memory_over(tmp_path)
    serve(memory, "prj_a", CANARY)
    memory.close()
    after = restarted(tmp_path)
    assert recalled(after, "prj_a", CANARY[:4]) == CANARY[4:12]
    assert after.tokens_of("prj_a") == len(CANARY) + 1


def test_what_was_learned_with_another_tokenizer_is_not_used_and_a_purge_finds_it(tmp_path: Path) -> None:
    memory = memory_over(tmp_path, tokenizer="one")
    serve(memory, "prj_a", CANARY)
    memory.close()
    assert recalled(restarted(tmp_path, tokenizer="one"), "prj_a", CANARY[:4]) == CANARY[4:12]
    other = restarted(tmp_path, tokenizer="other")
    assert not recalled(other, "prj_a", CANARY[:4])
    other.purge("prj_a")
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_busy_project_is_saved_while_it_runs(tmp_path: Path) -> None:
    memory = memory_over(tmp_path, save_seconds=0)
    serve(memory, "prj_a", CANARY)
    assert isinstance(memory.store, MemoryStore)
    memory.store.flush()  # and then the process is killed
    assert recalled(restarted(tmp_path), "prj_a", CANARY[:4]) == CANARY[4:12]


def test_nothing_of_a_project_without_consent_reaches_the_disk(tmp_path: Path) -> None:
    memory = memory_over(tmp_path, save_seconds=0)
    serve(memory, "prj_a", CANARY, remember=False)
    memory.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_read", [True, False])
def test_a_purge_deletes_the_file_whether_it_was_read_or_not(tmp_path: Path, has_read: bool) -> None:
    memory = memory_over(tmp_path)
    serve(memory, "prj_a", CANARY)
    memory.close()
    again = restarted(tmp_path) if has_read else memory_over(tmp_path)
    again.purge("prj_a")
    assert isinstance(again.store, MemoryStore)
    again.store.flush()
    assert list(tmp_path.iterdir()) == []
    assert recalled(restarted(tmp_path), "prj_a", CANARY[:4]) == []


def test_a_table_that_is_being_read_when_its_project_is_purged_never_arrives(tmp_path: Path) -> None:
    memory = memory_over(tmp_path)
    serve(memory, "prj_a", CANARY)
    memory.close()
    again = memory_over(tmp_path)
    serve(again, "prj_a", [90])  # asks for the file
    again.purge("prj_a")
    assert isinstance(again.store, MemoryStore)
    again.store.flush()
    again.restore()
    serve(again, "prj_a", [91])
    assert recalled(again, "prj_a", CANARY[:4]) == []


def test_a_purge_takes_the_end_users_of_the_project_along_and_nobody_else(tmp_path: Path) -> None:
    memory = memory_over(tmp_path)
    for scope in ("prj_a", "prj_a/ada@example.com", "prj_b", "prj_ab"):
        serve(memory, scope, CANARY)
    memory.close()
    assert not any(b"ada@" in path.read_bytes() for path in tmp_path.iterdir())
    again = memory_over(tmp_path)
    again.purge("prj_a")
    again.close()
    left = b"".join(path.read_bytes()[:200] for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 2
    assert b'"prj_b"' in left
    assert b'"prj_ab"' in left


def test_files_of_projects_that_left_while_the_node_was_down_are_deleted(tmp_path: Path) -> None:
    memory = memory_over(tmp_path)
    for project_id in ("prj_a", "prj_b"):
        serve(memory, project_id, CANARY)
    memory.close()
    store = MemoryStore(tmp_path)
    store.keep_only(["prj_a"])
    store.close()
    assert len(list(tmp_path.iterdir())) == 1
    assert recalled(restarted(tmp_path), "prj_a", CANARY[:4])


@pytest.mark.parametrize("damage", ["cut off", "one bit", "another project", "no header", "another build"])
def test_a_file_that_is_not_what_was_written_is_not_used(tmp_path: Path, damage: str) -> None:
    memory = memory_over(tmp_path)
    serve(memory, "prj_a", CANARY)
    if damage == "another project":
        serve(memory, "prj_b", [7, 8, 9])
    memory.close()
    path = next(path for path in tmp_path.iterdir() if b"prj_a" in path.read_bytes())
    data = bytearray(path.read_bytes())
    if damage == "cut off":
        data = data[:-100]
    elif damage == "one bit":
        data[-5000] ^= 1
    elif damage == "another project":
        (other,) = (one for one in tmp_path.iterdir() if one != path)
        data = bytearray(other.read_bytes())
    elif damage == "no header":
        data = data[20:]
    else:
        data = data.replace(f'"format": {FORMAT}'.encode(), b'"format": 0')
    path.write_bytes(data)
    after = restarted(tmp_path)
    assert recalled(after, "prj_a", CANARY[:4]) == []
    assert recalled(after, "prj_a", [90]) == []  # it was being read meanwhile
    after.close()
    assert recalled(restarted(tmp_path), "prj_a", [], 1) == [91]  # and what came after is kept


def test_the_folder_stays_within_its_quota_and_the_oldest_goes_first(tmp_path: Path) -> None:
    memory = memory_over(tmp_path, max_bytes=40_000, save_seconds=0)
    assert isinstance(memory.store, MemoryStore)
    for project_id in ("prj_a", "prj_b", "prj_c"):
        serve(memory, project_id, CANARY)
        memory.store.flush()
        time.sleep(0.01)  # files' times differ
    left = b"".join(path.read_bytes()[:200] for path in tmp_path.iterdir())
    assert b"prj_a" not in left
    assert b"prj_c" in left


def test_an_evicted_project_comes_back_from_the_disk(tmp_path: Path) -> None:
    memory = TenantMemory(project_bytes=64 << 10, max_bytes=20 << 10, store=MemoryStore(tmp_path))
    serve(memory, "prj_a", CANARY)
    serve(memory, "prj_b", CANARY[::-1])
    assert memory.bytes_of("prj_a") == 0
    assert isinstance(memory.store, MemoryStore)
    memory.store.flush()
    serve(memory, "prj_a", [90])
    memory.store.flush()
    memory.restore()
    serve(memory, "prj_a", [91])
    assert recalled(memory, "prj_a", CANARY[:4]) == CANARY[4:12]
