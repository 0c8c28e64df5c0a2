"""Prompts of the static drafter: reading, cleaning, and keeping benchmarks out."""

from __future__ import annotations

import json
from pathlib import Path

from dataplane.training.prompts import Exclusion, Prompt, read_prompts, select, usable
from dataplane.training.templates import template_prompts

QUESTION = "Please compare the tax systems of two neighbouring countries in a short and friendly essay for students."


def test_an_array_that_was_cut_off_is_read_up_to_the_cut(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "one"}, {"from": "gpt", "value": "x"}, {"from": "human", "value": "two"}]
    whole = json.dumps([{"conversations": turns}, {"conversations": turns[1:]}, {"conversations": turns}])
    (tmp_path / "s.json").write_text(whole[:-30])
    assert list(read_prompts(tmp_path / "s.json")) == [Prompt(("one", "two")), Prompt(("two",))]


def test_json_lines_hold_prompts_or_turns(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n\n{"turns": ["b", "c"], "system": "s"}\n')
    assert list(read_prompts(tmp_path / "p.jsonl")) == [Prompt(("a",)), Prompt(("b", "c"), "s")]


def test_copies_of_a_benchmark_are_left_out_whatever_their_case_and_punctuation() -> None:
    exclusion = Exclusion([Prompt((QUESTION,)), Prompt(("Say hi!",))])
    assert exclusion.covers(Prompt((QUESTION.upper().replace(" ", "  - "),)))
    assert exclusion.covers(Prompt(("Do this first. " + QUESTION[:60] + " and then stop",)))
    assert exclusion.covers(Prompt(("An innocent beginning", QUESTION)))
    assert exclusion.covers(Prompt(("say, hi",)))
    assert not exclusion.covers(Prompt(("Compare the tax systems of two countries",)))


def test_selection_keeps_each_opening_once_in_an_order_that_the_seed_decides() -> None:
    prompts = [Prompt((f"Question number {number} about gardens",)) for number in range(30)]
    chosen = select([*prompts, prompts[3], Prompt((QUESTION,))], Exclusion([Prompt((QUESTION,))]), seed=1)
    assert sorted(chosen, key=str) == sorted(prompts, key=str)
    assert chosen == select(prompts, Exclusion([]), seed=1) != select(prompts, Exclusion([]), seed=2)


def test_only_plain_text_of_moderate_length_is_used() -> None:
    assert usable(Prompt((QUESTION,)))
    assert not usable(Prompt(("hi",)))
    assert not usable(Prompt(("x" * 5000,)))
    assert not usable(Prompt(("расскажи мне о погоде",)))


def test_templates_give_distinct_prompts_that_only_the_seed_decides() -> None:
    prompts = template_prompts(400, seed=3)
    texts = [str(prompt["turns"]) for prompt in prompts]
    assert len(set(texts)) == 400
    assert prompts == template_prompts(400, seed=3)
    assert not any("{" in text.split("\\n")[0] for text in texts)
