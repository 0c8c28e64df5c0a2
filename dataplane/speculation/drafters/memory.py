"""Tenant memory (T0): what the target said after the same words before, in this request or an earlier one.

A `ContextTable` maps the last n tokens, for several n, to the token that followed most often. It keeps no text: a slot
holds a hash of the context, one token id and two small counters, so its size is fixed, forgetting is built in (a
newer context displaces a weaker one that hashes to the same slot), and purging a project means dropping its table.
Suffix-based drafting: SuffixDecoding (Oliaro et al., 2025); prompt lookup (Saxena, 2023). Longest context first is
prediction by partial matching (Cleary and Witten, 1984).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dataplane.speculation.types import EMPTY_PROPOSAL, Proposal, SequenceView, Source

ORDERS = (24, 12, 6, 4, 3, 2, 1)  # context lengths in tokens, longest first
LONGEST = ORDERS[0]
BYTES_PER_SLOT = 10
_FULL = 64  # counters are halved when one reaches it, so that a habit of yesterday yields to one of today

Scope = Literal["request", "project"]


class Evidence(NamedTuple):
    """Why the memory believes in a token."""

    scope: Scope
    order: int  # length of the context that matched, tokens
    hits: int  # how often the token followed it, decayed
    total: int  # how often anything followed it, decayed


class ContextTable:
    """Hash of the last n tokens -> the token that followed most often, with its count. Fixed size, no text."""

    def __init__(self, max_bytes: int) -> None:
        """A power of two of slots of BYTES_PER_SLOT bytes, at most `max_bytes`, at least 64 slots."""
        slots = 1 << max(6, (max_bytes // BYTES_PER_SLOT).bit_length() - 1)
        self._mask = slots - 1
        self._marks = array("I", bytes(4 * slots))  # upper hash bits of the context; 0 in an empty slot
        self._tokens = array("I", bytes(4 * slots))
        self._counts = array("B", bytes(slots))  # of the token
        self._totals = array("B", bytes(slots))  # of the context

    @property
    def num_bytes(self) -> int:
        return (self._mask + 1) * BYTES_PER_SLOT

    def learn(self, keys: Sequence[int], token: int) -> None:
        """`token` followed the contexts with these keys."""
        mask, marks, tokens, counts, totals = self._mask, self._marks, self._tokens, self._counts, self._totals
        for key in keys:
            slot, mark = key & mask, (key >> 32) & 0xFFFFFFFF or 1
            if marks[slot] != mark:
                if counts[slot] > 1:  # a stronger context lives here: it weakens
                    counts[slot] -= 1
                else:
                    marks[slot], tokens[slot], counts[slot], totals[slot] = mark, token, 1, 1
                continue
            count, total = counts[slot], totals[slot] + 1
            if tokens[slot] == token:
                count += 1
            elif 2 * count < total:  # the majority is gone (Misra and Gries, 1982)
                tokens[slot], count = token, 1
            if total >= _FULL:
                count, total = (count + 1) // 2, total // 2
            counts[slot], totals[slot] = count, total

    def recall(self, key: int) -> tuple[int, int, int] | None:
        """(token, count, total) after the context with this key; None if it is unknown."""
        slot = key & self._mask
        if self._marks[slot] != ((key >> 32) & 0xFFFFFFFF or 1):
            return None
        return self._tokens[slot], self._counts[slot], self._totals[slot]


def context_keys(window: tuple[int, ...]) -> list[int]:
    """One key for each order that the window (the last LONGEST tokens, or fewer at the start of a text) can fill."""
    return [hash(window[-order:]) for order in ORDERS if order <= len(window)]


@dataclass(slots=True)
class _Request:
    """The request at hand: a table of its own, and how much of the sequence the tables have seen."""

    table: ContextTable
    scope: str
    remember: bool
    window: tuple[int, ...] = ()
    num_seen: int = 0


@dataclass(slots=True)
class TenantMemory:
    """Tables of every project and of the requests that run now. One thread (the engine's) uses it."""

    project_bytes: int = 4 << 20
    max_bytes: int = 512 << 20
    request_bytes: int = 160 << 10
    _projects: dict[str, ContextTable] = field(default_factory=dict)  # least recently used first
    _seeds: dict[str, ContextTable] = field(default_factory=dict)  # by project, oldest first
    _requests: dict[int, _Request] = field(default_factory=dict)  # by slot

    @property
    def num_bytes(self) -> int:
        tables = [
            *self._projects.values(),
            *self._seeds.values(),
            *(request.table for request in self._requests.values()),
        ]
        return sum(table.num_bytes for table in tables)

    def bytes_of(self, project_id: str) -> int:
        table = self._projects.get(project_id)
        return table.num_bytes if table else 0

    def propose(self, sequence: SequenceView, lookahead: int, drafted: Sequence[int] = ()) -> Proposal:
        """The likeliest continuation of the sequence (and of `drafted` after it), at most `lookahead` tokens."""
        request = self._catch_up(sequence)
        shared = self._projects.get(sequence.memory_scope)
        window = (request.window + tuple(drafted))[-LONGEST:]
        tokens: list[int] = []
        sources: list[Source] = []
        evidence: list[Evidence] = []
        while len(tokens) < lookahead:
            found = _likeliest(request.table, shared, window)
            if found is None:
                break
            token, why = found
            tokens.append(token)
            sources.append("memory")
            evidence.append(why)
            window = (*window[-LONGEST + 1 :], token)
        if not tokens:
            return EMPTY_PROPOSAL
        confidences = tuple(why.hits / (why.total + 1) for why in evidence)
        return Proposal(tuple(tokens), confidences, tuple(sources), None, tuple(evidence))

    def release(self, sequence: SequenceView) -> None:
        """The sequence has ended: learn what is left of it, and free its own table."""
        if sequence.slot in self._requests:
            self._catch_up(sequence)
            del self._requests[sequence.slot]

    def table_of(self, texts: Sequence[Sequence[int]]) -> ContextTable:
        """A project's table that knows these texts, for `adopt`. Touches nothing else: any thread may build one."""
        table = ContextTable(self.project_bytes)
        for text in texts:
            window: tuple[int, ...] = ()
            for token in text:
                table.learn(context_keys(window), token)
                window = (*window[-LONGEST + 1 :], token)
        return table

    def adopt(self, project_id: str, table: ContextTable) -> None:
        """Start the project's memory from `table` once one of its requests may be remembered, and not before."""
        if project_id not in self._projects:
            self._seeds[project_id] = table

    def purge(self, project_id: str) -> None:
        """Forget the project and its end users. Requests that run keep what they know of themselves, and leave nothing
        behind."""
        for scope in [scope for scope in self._projects if _is_of(scope, project_id)]:
            del self._projects[scope]
        self._seeds.pop(project_id, None)
        for request in self._requests.values():
            if _is_of(request.scope, project_id):
                request.remember = False

    def _catch_up(self, sequence: SequenceView) -> _Request:
        request = self._requests.get(sequence.slot)
        if request is None:
            table = ContextTable(self.request_bytes)
            request = _Request(table, sequence.memory_scope, sequence.speculation.remember)
            self._requests[sequence.slot] = request
        if request.num_seen < len(sequence.tokens):
            keeps = request.remember and len(sequence.tokens) > sequence.num_prompt_tokens
            shared = self._project(sequence.memory_scope) if keeps else None
            window = request.window
            for position in range(request.num_seen, len(sequence.tokens)):
                token = sequence.tokens[position]
                keys = context_keys(window)
                request.table.learn(keys, token)
                if shared is not None and position >= sequence.num_prompt_tokens:
                    shared.learn(keys, token)
                window = (*window[-LONGEST + 1 :], token)
            request.window, request.num_seen = window, len(sequence.tokens)
        return request

    def _project(self, project_id: str) -> ContextTable:
        table = self._projects.pop(project_id, None) or self._seeds.pop(project_id, None)
        if table is None:
            while (len(self._projects) + len(self._seeds) + 1) * self.project_bytes > self.max_bytes:
                oldest = self._seeds or self._projects
                if not oldest:
                    break
                del oldest[next(iter(oldest))]
            table = ContextTable(self.project_bytes)
        self._projects[project_id] = table
        return table


def _is_of(scope: str, project_id: str) -> bool:
    return scope.partition("/")[0] == project_id


def _likeliest(
    request: ContextTable, project: ContextTable | None, window: tuple[int, ...]
) -> tuple[int, Evidence] | None:
    """The longest match in either table if its token dominates, else the other's if that does, else the longer one."""
    tables: list[tuple[Scope, ContextTable]] = [("request", request)]
    if project is not None:
        tables.append(("project", project))
    best: tuple[int, Evidence] | None = None
    for order in ORDERS:
        if order > len(window):
            continue
        key = hash(window[-order:])
        for scope, table in tables:
            found = table.recall(key)
            if found is not None:
                token, count, total = found
                if 4 * (total - count) <= total:
                    return token, Evidence(scope, order, count, total)
                best = best or (token, Evidence(scope, order, count, total))
                tables = [other for other in tables if other[1] is not table]
        if not tables:
            break
    return best
