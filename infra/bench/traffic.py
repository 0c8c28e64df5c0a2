"""Streams of requests by name: what one tenant, several tenants or nobody in particular sends, in its order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count
from string import Template

from infra.bench.arms import Job
from infra.bench.prompts import BROAD, CREATIVE
from infra.bench.stage import Stage
from infra.demo.workloads import REVIEW, SQL, SUPPORT, TENANTS, Message, Tenant, requests

_MAX_TOKENS = 128
_ZIPF_TENANTS = 24
_ZIPF_EXPONENT = 1.1
_HABITS = (
    "Write the status line of ticket $number for the $team team: one sentence, then three bullets with next steps.",
    "Give the $team team a checklist of five short points for incident $number.",
    "Summarise order $number for the $team team as JSON with the keys id, team, state and note.",
)
_TEAMS = "payments search billing mobile logistics support data security growth platform mail video".split()


def drift(stage: Stage, length: int) -> list[list[Job]]:
    """One project whose traffic is A, then B, then A again: support letters, SQL, other support letters.

    None of them is among the requests that a tenant's trained version learned from (seed 0).
    """
    first, second = requests(SUPPORT, "learn", length, seed=1), requests(SUPPORT, "heldout", length)
    middle = requests(SQL, "learn", length, seed=1)
    jobs = [
        *(_job(stage, "drifting", messages, SUPPORT.max_tokens) for messages in first),
        *(_job(stage, "drifting", messages, SQL.max_tokens) for messages in middle),
        *(_job(stage, "drifting", messages, SUPPORT.max_tokens) for messages in second),
    ]
    return [[job] for job in jobs]


def mixed(stage: Stage, length: int) -> list[list[Job]]:
    """Three tenants by turns, each in its own project."""
    streams = [(tenant, requests(tenant, "heldout", length)) for tenant in TENANTS]
    return [
        [_job(stage, tenant.name, chats[index], tenant.max_tokens)]
        for index in range(length)
        for tenant, chats in streams
    ]


def switching(stage: Stage, length: int, seed: int = 0) -> list[list[Job]]:
    """Anti-workload: one project, and every request comes from another domain at random; nothing lasts."""
    choose = random.Random(seed)
    texts = [text for group in BROAD.values() for text in group] + list(CREATIVE)
    narrow = {tenant.name: iter(requests(tenant, "learn", length, seed=1)) for tenant in TENANTS}  # 0: trained on
    groups = []
    for _ in range(length):
        if choose.random() < 0.5:
            groups.append([_job(stage, "switching", [{"role": "user", "content": choose.choice(texts)}], _MAX_TOKENS)])
        else:
            tenant = choose.choice(TENANTS)
            groups.append([_job(stage, "switching", next(narrow[tenant.name]), _MAX_TOKENS)])
    return groups


def zipf(stage: Stage, length: int, seed: int = 0) -> list[list[Job]]:
    """Many projects, a few of which send most: the k-th sends in proportion to k ** -1.1."""
    choose = random.Random(seed)
    weights = [(rank + 1) ** -_ZIPF_EXPONENT for rank in range(_ZIPF_TENANTS)]
    groups = []
    for number in range(length):
        rank = choose.choices(range(_ZIPF_TENANTS), weights)[0]
        values = {"number": str(choose.randrange(1000, 9999)), "team": _TEAMS[rank % len(_TEAMS)]}
        text = Template(_HABITS[rank % len(_HABITS)]).substitute(values)
        groups.append([_job(stage, f"tenant-{rank}", [{"role": "user", "content": text}], _MAX_TOKENS, seed=number)])
    return groups


def creative(stage: Stage) -> Iterator[list[Job]]:
    """Anti-workload without an end: creative prompts at temperature 1, which nobody can predict."""
    for number in count():
        messages = [{"role": "user", "content": CREATIVE[number % len(CREATIVE)]}]
        yield [_job(stage, "creative", messages, 200, temperature=1.0, seed=number)]


def narrow(stage: Stage, tenant: Tenant, part: str, length: int, seed: int = 0) -> list[list[Job]]:
    """One tenant's requests."""
    return [
        [_job(stage, tenant.name, messages, tenant.max_tokens)] for messages in requests(tenant, part, length, seed)
    ]


def together(groups: Sequence[Sequence[Job]], size: int) -> list[list[Job]]:
    """The same requests, `size` at the same time; what is left over is dropped."""
    jobs = [job for group in groups for job in group]
    return [jobs[start : start + size] for start in range(0, len(jobs) - size + 1, size)]


def tenant_named(name: str) -> Tenant | None:
    return next((tenant for tenant in (SUPPORT, SQL, REVIEW) if tenant.name == name), None)


def _job(
    stage: Stage,
    tenant: str,
    messages: Sequence[Message],
    max_tokens: int,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> Job:
    return Job(tenant, stage.encode(messages, max_tokens), max_tokens, temperature, seed)
