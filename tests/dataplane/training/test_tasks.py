"""Prompts for tasks that conversations rarely hold."""

from __future__ import annotations

import json
from pathlib import Path

from dataplane.training.prompts import Exclusion, Prompt, read_exchanges
from dataplane.training.tasks import LONGEST, SHORTEST, cut, main, task_prompts

PASSAGE = "The harbour of Tallinn was built in stone. " * 40


def test_prompts_are_distinct_reproducible_and_of_all_kinds() -> None:
    prompts = task_prompts([PASSAGE], 300, seed=1)
    texts = [prompt["turns"][0] for prompt in prompts]
    assert len(set(texts)) == 300
    assert prompts == task_prompts([PASSAGE], 300, seed=1) != task_prompts([PASSAGE], 300, seed=2)
    assert any("harbour" in text and "Tallinn?" in text for text in texts)  # asked about a name in it
    assert any(text.startswith("Translate German") for text in texts)
    assert not any("{" in text for text in texts)
    assert not any("harbour" in str(prompt) for prompt in task_prompts([], 100, seed=1))


def test_a_passage_is_cut_behind_a_sentence() -> None:
    assert cut("One. Two. Three.", 100) == "One. Two. Three."
    assert cut("One. Two. Three.", 12) == "One. Two."
    assert cut("word" * 10, 8) == "wordword"


def test_passages_are_long_plain_messages_of_assistants(tmp_path: Path) -> None:
    messages = [
        {"from": "human", "value": PASSAGE.replace("Tallinn", "Riga")},
        {"from": "gpt", "value": PASSAGE * 4},
        {"from": "gpt", "value": PASSAGE + "```code```"},
        {"from": "gpt", "value": "x" * (SHORTEST - 1)},
    ]
    source, out = tmp_path / "conversations.json", tmp_path / "tasks.jsonl"
    source.write_text(json.dumps([{"conversations": messages}]))
    main(["--count", "60", "--passages", str(source), "--out", str(out)])
    texts = [json.loads(line)["turns"][0] for line in out.read_text().splitlines()]
    assert len(texts) == 60
    read = [text for text in texts if "harbour" in text]
    assert read and all("Riga" not in text and len(text) <= LONGEST + 1200 for text in read)


def test_exchanges_are_the_opening_messages_outside_the_benchmarks(tmp_path: Path) -> None:
    def conversation(*messages: tuple[str, str]) -> dict[str, object]:
        return {"conversations": [{"from": sender, "value": text} for sender, text in messages]}

    source = tmp_path / "conversations.json"
    kept = (("human", "How are maps drawn?"), ("gpt", "With care."))
    source.write_text(
        json.dumps(
            [
                conversation(*kept, ("human", "And printed?")),
                conversation(("gpt", "Hello"), ("human", "How old is the moon?")),
                conversation(("human", "What is a benchmark's prompt?"), ("gpt", "This.")),
                conversation(*kept),
            ]
        )
    )
    exclusion = Exclusion([Prompt(("What is a benchmark's prompt?",))])
    assert read_exchanges(source, exclusion, seed=0) == [("How are maps drawn?", "With care.")]
