"""What the benchmark sends: the demo's tenants, a stranger's file of prompts, and traffic that nobody can learn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

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


def file_workload(path: Path, *, learn: int, heldout: int, max_tokens: int = 160) -> Workload:
    """A file of JSON Lines with `prompt` or `turns` (the first is used), optionally `system`.

    The lines are taken in order: the first two thirds, at most `learn`, to adapt on; the next ones, at most
    `heldout`, are held out. Raises PromptsError.
    """
    chats = [_read_line(path, number, line) for number, line in enumerate(path.read_text().splitlines(), 1) if line]
    if len(chats) < 6:
        raise PromptsError(f"{path} has {len(chats)} prompts: at least 6 are needed, 4 to adapt on and 2 held out")
    cut = min(learn, 2 * len(chats) // 3)
    return Workload(path.stem, tuple(chats[:cut]), tuple(chats[cut : cut + heldout]), max_tokens)


def _read_line(path: Path, number: int, line: str) -> tuple[Message, ...]:
    try:
        item = json.loads(line)
        text = item["prompt"] if "prompt" in item else item["turns"][0]
        system = item.get("system")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise PromptsError(f"{path}:{number}: expected an object with `prompt` or `turns`") from error
    if not isinstance(text, str) or not (system is None or isinstance(system, str)):
        raise PromptsError(f"{path}:{number}: `prompt`, `turns` and `system` hold text")
    head: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
    return (*head, {"role": "user", "content": text})
