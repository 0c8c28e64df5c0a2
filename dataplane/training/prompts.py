"""Broad prompts for the static drafter: read, cleaned, deduplicated against benchmarks, and varied by templates.

Only prompts are taken from the outside; every answer that the drafter learns from is the target model's own.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A prompt that shares this many consecutive words with an excluded one is taken for a copy of it.
OVERLAP_WORDS = 8
MAX_CHARACTERS = 4800


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a user says, turn by turn, under an optional system prompt."""

    turns: tuple[str, ...]
    system: str | None = None


def read_prompts(path: Path) -> Iterator[Prompt]:
    """Prompts of JSON Lines with `prompt` or `turns` (and `system`), or of a ShareGPT array, even one cut short."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        for messages in read_conversations(path):
            turns = [text for sender, text in messages if sender == "human"]
            if turns:
                yield Prompt(tuple(turns[:2]))
        return
    for line in text.splitlines():
        if line.strip():
            item = json.loads(line)
            turns = item["turns"] if "turns" in item else [item["prompt"]]
            yield Prompt(tuple(turns), item.get("system"))


def read_conversations(path: Path) -> Iterator[list[tuple[str, str]]]:
    """(sender, text) of every message of every conversation of a ShareGPT array."""
    for item in _objects(path.read_text(encoding="utf-8")):
        yield [(turn.get("from", ""), turn.get("value", "")) for turn in item.get("conversations", ())]


def usable(prompt: Prompt) -> bool:
    """Not empty, not too long for the training context, and mostly plain ASCII (the target speaks English and code)."""
    text = prompt.turns[0]
    return 8 <= len(text) <= MAX_CHARACTERS and sum(character < "\x7f" for character in text) >= 0.94 * len(text)


class Exclusion:
    """The prompts of benchmarks; `covers` recognises a prompt that repeats one of them."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self._whole: set[str] = set()
        self._parts: set[tuple[str, ...]] = set()
        for prompt in prompts:
            for turn in prompt.turns:
                words = _words(turn)
                self._whole.add(" ".join(words))
                self._parts.update(_windows(words))

    def covers(self, prompt: Prompt) -> bool:
        """Is a turn of `prompt` equal to an excluded one, or does it share OVERLAP_WORDS consecutive words with it?"""
        for turn in prompt.turns:
            words = _words(turn)
            if " ".join(words) in self._whole or not self._parts.isdisjoint(_windows(words)):
                return True
        return False


def select(prompts: Iterable[Prompt], exclusion: Exclusion, seed: int) -> list[Prompt]:
    """Usable prompts outside `exclusion`, each opening once, shuffled."""
    seen: set[str] = set()
    kept = []
    for prompt in prompts:
        opening = " ".join(_words(prompt.turns[0])[:12])
        if opening in seen or not usable(prompt) or exclusion.covers(prompt):
            continue
        seen.add(opening)
        second = prompt.turns[1:2] if all(8 <= len(turn) <= MAX_CHARACTERS // 8 for turn in prompt.turns[1:2]) else ()
        kept.append(Prompt(prompt.turns[:1] + second, prompt.system))
    random.Random(seed).shuffle(kept)
    return kept


def read_exchanges(path: Path, exclusion: Exclusion, seed: int) -> list[tuple[str, str]]:
    """(prompt, answer) that open the usable conversations outside `exclusion`, each opening once, shuffled."""
    found: dict[str, tuple[str, str]] = {}
    for messages in read_conversations(path):
        if [sender for sender, _ in messages[:2]] == ["human", "gpt"]:
            (_, prompt), (_, answer) = messages[:2]
            if usable(Prompt((prompt,))) and not exclusion.covers(Prompt((prompt,))):
                found.setdefault(" ".join(_words(prompt)[:12]), (prompt, answer))
    exchanges = list(found.values())
    random.Random(seed).shuffle(exchanges)
    return exchanges


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    while True:
        match = re.compile(r"[\s,]*").match(text, position)
        position = match.end() if match else position
        try:
            item, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            return  # the closing bracket, or the place where the file was cut
        yield item


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _windows(words: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(len(words) - OVERLAP_WORDS + 1):
        yield tuple(words[start : start + OVERLAP_WORDS])
