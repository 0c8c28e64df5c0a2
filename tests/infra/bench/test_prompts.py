"""A stranger's file of prompts is split by its order, and a bad line is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.bench.prompts import PromptsError, demo_workloads, file_workload


def write(path: Path, lines: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_the_first_two_thirds_are_learned_from_and_the_next_are_held_out(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [{"prompt": f"question {number}", "category": "x"} for number in range(9)])
    workload = file_workload(path, learn=100, heldout=2)
    assert workload.name == "mine"
    assert [chat[-1]["content"] for chat in workload.learn] == [f"question {number}" for number in range(6)]
    assert [chat[-1]["content"] for chat in workload.heldout] == ["question 6", "question 7"]


def test_turns_and_a_system_prompt_are_understood(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [{"turns": ["first", "second"], "system": "Be brief."}] * 6)
    assert file_workload(path, learn=4, heldout=2).learn[0] == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
    )


@pytest.mark.parametrize("line", [{"question": "no prompt"}, {"turns": []}, {"prompt": 3}, [1], "text"])
def test_a_line_without_a_prompt_is_named(tmp_path: Path, line: object) -> None:
    path = write(tmp_path / "mine.jsonl", [{"prompt": "fine"}, line])
    with pytest.raises(PromptsError, match=r"mine\.jsonl:2"):
        file_workload(path, learn=4, heldout=2)


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptsError, match="at least 6"):
        file_workload(write(tmp_path / "mine.jsonl", [{"prompt": "one"}]), learn=4, heldout=2)


def test_the_demos_tenants_are_the_default() -> None:
    workloads = demo_workloads(learn=5, heldout=3)
    assert [(len(one.learn), len(one.heldout)) for one in workloads] == [(5, 3)] * 3
