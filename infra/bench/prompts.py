"""What the benchmark sends: the demo's tenants, files of prompts, broad prompts, and traffic that nobody can learn."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.demo.workloads import TENANTS, Message, Tenant, requests

CREATIVE = (
    "Write the opening of a story about a lighthouse keeper who collects forgotten sounds.",
    "Invent three board games that could be played underwater, and describe the strangest one.",
    "Compose a letter from the moon to a child who has stopped looking up.",
    "Describe a city where every street changes its name at midnight.",
    "Write a dialogue between a compass and a map that disagree.",
    "Tell me a dream that a retired clockmaker might have, with as many odd details as you can.",
    "Imagine the menu of a restaurant run by ravens.",
    "Write a short monologue of a bridge that is afraid of rivers.",
    "Describe a festival that celebrates mistakes, from morning to night.",
    "Make up a legend that explains why autumn leaves are noisy.",
    "Write the diary of a snail on the longest journey of its life.",
    "Invent a new season between winter and spring and tell what people do in it.",
)

# What people ask an assistant, by the kinds of task that Spec-Bench has: for those who have no such file.
BROAD: dict[str, tuple[str, ...]] = {
    "writing": (
        "Write a short paragraph about the history of bread.",
        "Write an email that invites colleagues to a workshop about writing clearly.",
    ),
    "reasoning": (
        "Explain in simple words why the sky is blue.",
        "Tom is older than Eva and Eva is older than Max. Who is the youngest? Explain your reasoning.",
    ),
    "math": (
        "A train travels 180 km in 2 hours. How far does it travel in 5 hours? Show your steps.",
        "A shop sells pens at 3 for 4 euros. What do 15 pens cost? Explain each step.",
    ),
    "coding": (
        "What is the difference between a list and a tuple in Python? Give an example of each.",
        "Write a Python function that returns the largest even number of a list, and explain it.",
    ),
    "extraction": (
        "List the names and the years in this text: Ada Lovelace wrote notes in 1843. Charles Babbage designed the "
        "Analytical Engine in 1837. Alan Turing described his machine in 1936.",
        "Which ingredients does this recipe need? Mix 200 g of flour with two eggs and a cup of milk, add a pinch of "
        "salt, fry the batter in butter and serve it with jam.",
    ),
    "stem": ("Describe how a bicycle stays upright.", "Summarise the water cycle for a child of ten."),
    "humanities": (
        "What were the main causes of the French Revolution?",
        "Why did cities grow so fast in the nineteenth century?",
    ),
    "translation": (
        "Translate into German: The weather is nice today and we are going to the park.",
        "Translate into French: Where is the nearest train station, please?",
    ),
    "summarization": (
        "Summarize in one sentence: The council met on Tuesday to discuss the new bridge. After three hours they "
        "agreed to build it from wood instead of steel, because wood is cheaper and grows in the region. Work is to "
        "begin in spring and to take two years. Two members voted against it.",
        "Summarize in one sentence: Researchers followed forty families for ten years. Children who were read to every "
        "day knew more words when they started school, and the difference was still there at the age of twelve.",
    ),
    "qa": ("Who invented the telephone?", "What is the capital of Australia, and why was it built?"),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One chat request of no particular tenant."""

    category: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """Prompts of many kinds: Spec-Bench, Arena-Hard, HumanEval, or the built-in ones."""

    name: str  # "spec_bench", "arena_hard", "human_eval" or "broad"
    prompts: tuple[Prompt, ...]
    max_tokens: int = 128

    def sample(self) -> list[Prompt]:
        """All prompts, the categories by turns: however many of them are used, every category has its share."""
        by_category: dict[str, list[Prompt]] = {}
        for prompt in self.prompts:
            by_category.setdefault(prompt.category, []).append(prompt)
        longest = max(map(len, by_category.values()), default=0)
        # From the middle outwards: files are often sorted by difficulty or length.
        order = sorted(range(longest), key=lambda place: (place * 0x9E3779B1) % (1 << 32))
        return [chats[place] for place in order for chats in by_category.values() if place < len(chats)]


@dataclass(frozen=True, slots=True)
class Workload:
    """One tenant's traffic in the order of its arrival: learned from, then held out."""

    name: str
    learn: tuple[tuple[Message, ...], ...]
    heldout: tuple[tuple[Message, ...], ...]
    max_tokens: int


class PromptsError(ValueError):
    """The prompts file can't be used; the message names the line."""


def demo_workloads(tenants: tuple[Tenant, ...] = TENANTS, *, learn: int, heldout: int) -> list[Workload]:
    return [
        Workload(
            tenant.name,
            tuple(map(tuple, requests(tenant, "learn", learn))),
            tuple(map(tuple, requests(tenant, "heldout", heldout))),
            tenant.max_tokens,
        )
        for tenant in tenants
    ]


def broad_prompts() -> Collection:
    return Collection("broad", tuple(_prompt(text, category) for category, texts in BROAD.items() for text in texts))


def read_file(path: Path, *, learn: int, heldout: int) -> Collection | Workload:
    """JSON Lines (also .gz) with `prompt` or `turns` (the first is used), optionally `system`.

    Spec-Bench (question_id, category, turns), Arena-Hard (cluster, prompt) and HumanEval (task_id, prompt) are known by
    their layout; any other file is one tenant's traffic in its order. Raises PromptsError, OSError.
    """
    items = [(number, _read_line(path, number, line)) for number, line in enumerate(_lines(path), 1) if line.strip()]
    if not items:
        raise PromptsError(f"{path} is empty")
    keys = set.intersection(*(set(item) for _, item in items))
    if {"question_id", "category", "turns"} <= keys:
        return Collection("spec_bench", tuple(_prompt(_text(item), item["category"]) for _, item in items))
    if {"cluster", "prompt"} <= keys:
        return Collection("arena_hard", tuple(_prompt(_text(item), "arena-hard") for _, item in items))
    if {"task_id", "prompt", "entry_point"} <= keys:
        return Collection("human_eval", tuple(_prompt(_completion(item["prompt"]), "coding") for _, item in items))
    return _tenant(path, [_chat(item) for _, item in items], learn=learn, heldout=heldout)


def file_workload(path: Path, *, learn: int, heldout: int, max_tokens: int = 160) -> Workload:
    """A file as one tenant's traffic, whatever its layout.

    The lines are taken in order: the first two thirds, at most `learn`, to adapt on; the next ones, at most
    `heldout`, are held out. Raises PromptsError.
    """
    items = [(number, _read_line(path, number, line)) for number, line in enumerate(_lines(path), 1) if line.strip()]
    chats = [_chat(item) for _, item in items]
    return _tenant(path, chats, learn=learn, heldout=heldout, max_tokens=max_tokens)


def _tenant(
    path: Path, chats: Sequence[tuple[Message, ...]], *, learn: int, heldout: int, max_tokens: int = 160
) -> Workload:
    if len(chats) < 6:
        raise PromptsError(f"{path} has {len(chats)} prompts: at least 6 are needed, 4 to adapt on and 2 held out")
    cut = min(learn, 2 * len(chats) // 3)
    return Workload(path.stem, tuple(chats[:cut]), tuple(chats[cut : cut + heldout]), max_tokens)


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    try:
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise PromptsError(f"{path} is not text: {error}") from error


def _read_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
        text, system = _text(item), item.get("system")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise PromptsError(f"{path}:{number}: expected an object with `prompt` or `turns`") from error
    if not isinstance(text, str) or not (system is None or isinstance(system, str)):
        raise PromptsError(f"{path}:{number}: `prompt`, `turns` and `system` hold text")
    return dict(item)


def _text(item: dict[str, Any]) -> Any:
    return item["prompt"] if "prompt" in item else item["turns"][0]


def _chat(item: dict[str, Any]) -> tuple[Message, ...]:
    head: tuple[Message, ...] = ({"role": "system", "content": item["system"]},) if item.get("system") else ()
    return (*head, {"role": "user", "content": _text(item)})


def _prompt(text: str, category: str) -> Prompt:
    return Prompt(str(category), ({"role": "user", "content": text},))


def _completion(code: str) -> str:
    return f"Complete this Python function. Answer with the whole function.\n```python\n{code}```"
