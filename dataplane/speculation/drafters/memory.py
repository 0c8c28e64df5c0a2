"""Tenant memory (T0): what the target said after the same words before, in this request or an earlier one.

Every request has a table of its own (its prompt and its output), every project one of its outputs; tables hold hashed
contexts and no text (`context_table`), so that forgetting is built in and purging a project means dropping its table.
Suffix-based drafting: SuffixDecoding (Oliaro et al., 2025); prompt lookup (Saxena, 2023). Longest context first is
prediction by partial matching (Cleary and Witten, 1984).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from cpu_kernels.tables import MAX_LOOKAHEAD
from dataplane.speculation.drafters.context_table import (
    LONGEST,
    ORDERS,
    ContextTable,
    Found,
    Mix,
    learn,
    mix,
    propose,
)
from dataplane.speculation.types import EMPTY_PROPOSAL, Proposal, SequenceView, Source, project_of

Scope = Literal["request", "project"]
_SCOPES: tuple[Scope, ...] = ("request", "project")
_MEMORY: Source = "memory"
_SOURCES = (_MEMORY,) * MAX_LOOKAHEAD


class Evidence(NamedTuple):
    """Why the memory believes in a token."""

    scope: Scope
    order: int  # length of the context that matched, tokens
    hits: int  # how often the token followed it, decayed
    total: int  # how often anything followed it, decayed


class TableStore(Protocol):
    """Keeps tables beyond this process (`dataplane.speculation.memory_store`). No call waits for a disk.

    A scope is a project, or one of its end users (`types.memory_scope`).
    """

    def save(self, scope: str, data: bytes) -> None: ...
    def forget(self, project_id: str) -> None: ...
    def ask(self, scope: str) -> bool:
        """Read the scope's table unless that was done. True: it will be among `arrived`, wait for it."""

    def arrived(self) -> Iterator[tuple[str, bytes]]: ...
    def is_due(self, scope: str) -> bool:
        """Is it time to save the scope's table again?"""

    def keep_only(self, project_ids: Collection[str]) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Request:
    """The request at hand: a table of its own, and how much of the sequence the tables have seen."""

    table: ContextTable
    scope: str
    remember: bool
    window: array[int] = field(default_factory=lambda: array("i"))  # the last LONGEST tokens
    num_seen: int = 0


@dataclass(slots=True)
class TenantMemory:
    """Tables of every project and of the requests that run now. One thread (the engine's) uses it."""

    project_bytes: int = 16 << 20
    max_bytes: int = 512 << 20
    request_bytes: int = 256 << 10
    store: TableStore | None = None
    native: bool = True  # use the compiled tables if there are any
    _projects: dict[str, ContextTable] = field(default_factory=dict)  # least recently used first
    _saved: dict[str, int] = field(default_factory=dict)  # by project: tokens that its table had learned when saved
    _seeds: dict[str, ContextTable] = field(default_factory=dict)  # by project, oldest first
    _requests: dict[int, _Request] = field(default_factory=dict)  # by slot
    _evidence: dict[Found, Evidence] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return self._kept_bytes + sum(request.table.num_bytes for request in self._requests.values())

    def bytes_of(self, project_id: str) -> int:
        table = self._projects.get(project_id)
        return table.num_bytes if table else 0

    def tokens_of(self, project_id: str) -> int:
        """Tokens that the project's table has learned from in its life."""
        table = self._projects.get(project_id)
        return table.num_learned if table else 0

    def propose(self, sequence: SequenceView, lookahead: int, drafted: Sequence[int] = ()) -> Proposal:
        """The likeliest continuation of the sequence (and of `drafted` after it), at most `lookahead` tokens."""
        if lookahead <= 0:
            return EMPTY_PROPOSAL
        request = self._catch_up(sequence)
        window = request.window
        if drafted:
            window = window + array("i", drafted)
        shared = self._projects.get(sequence.memory_scope)
        found = propose(request.table, shared, window, min(lookahead, MAX_LOOKAHEAD))
        if not found:
            return EMPTY_PROPOSAL
        evidence = tuple([self._reason(one) for one in found])
        return Proposal(
            tuple([one.token for one in found]),
            tuple([why.hits / (why.total + 1) for why in evidence]),
            _SOURCES[: len(found)],
            None,
            evidence,
        )

    def mix(
        self,
        sequence: SequenceView,
        drafted: Sequence[int],
        candidates: Sequence[int],
        probs: Sequence[float],
        other: float,
        kappa: float,
    ) -> Mix | None:
        """What followed the contexts at the end of the sequence and `drafted`; see `context_table.mix`."""
        request = self._catch_up(sequence)
        window = (request.window + array("i", drafted))[-LONGEST:]
        return mix(request.table, self._projects.get(sequence.memory_scope), window, candidates, probs, other, kappa)

    def release(self, sequence: SequenceView) -> None:
        """The sequence has ended: learn what is left of it, and free its own table."""
        if sequence.slot not in self._requests:
            return
        self._catch_up(sequence)
        del self._requests[sequence.slot]
        if self.store is not None and self.store.is_due(sequence.memory_scope):
            self._save(sequence.memory_scope)

    def table_of(self, texts: Sequence[Sequence[int]]) -> ContextTable:
        """A project's table that knows these texts, for `adopt`. Touches nothing else: any thread may build one."""
        table = ContextTable(self.project_bytes, native=self.native)
        for text in texts:
            tokens = array("i", text)
            learn(table, None, tokens, 0, len(tokens))
        return table

    def adopt(self, project_id: str, table: ContextTable) -> None:
        """Start the project's memory from `table` once one of its requests may be remembered, and not before."""
        if project_id not in self._projects:
            self._seeds[project_id] = table
            self._evict()

    def restore(self) -> None:
        """At a step boundary: take over tables that the store has read."""
        for project_id, data in self.store.arrived() if self.store is not None else ():
            try:
                table = ContextTable.from_bytes(data, self.project_bytes, native=self.native)
            except ValueError:  # of an earlier build, or of a larger quota: learn anew
                continue
            if project_id not in self._projects:  # a request that may be remembered has asked for it
                self._seeds.pop(project_id, None)
                self._projects[project_id], self._saved[project_id] = table, table.num_learned
                self._evict()

    def close(self) -> None:
        """At the end: keep what was learned since the last save. Returns once it is on the disk."""
        for project_id in self._projects:
            self._save(project_id)
        if self.store is not None:
            self.store.close()

    def purge(self, project_id: str) -> None:
        """Forget the project and its end users. Requests that run keep what they know of themselves, and leave nothing
        behind."""
        for kept in (self._projects, self._seeds, self._saved):
            for scope in [scope for scope in kept if project_of(scope) == project_id]:
                kept.pop(scope)
        for request in self._requests.values():
            if project_of(request.scope) == project_id:
                request.remember = False
        if self.store is not None:
            self.store.forget(project_id)

    @property
    def _kept_bytes(self) -> int:
        return sum(table.num_bytes for table in (*self._projects.values(), *self._seeds.values()))

    def _reason(self, found: Found) -> Evidence:
        key = found._replace(token=0)
        why = self._evidence.get(key)
        if why is None:
            _, scope, order, count, total = found
            why = self._evidence[key] = Evidence(_SCOPES[scope], ORDERS[order], count, total)
        return why

    def _catch_up(self, sequence: SequenceView) -> _Request:
        request = self._requests.get(sequence.slot)
        if request is None:
            table = ContextTable(self.request_bytes, native=self.native)
            request = _Request(table, sequence.memory_scope, sequence.speculation.remember)
            self._requests[sequence.slot] = request
        length = len(sequence.tokens)
        if request.num_seen < length:
            keeps = request.remember and length > sequence.num_prompt_tokens
            shared = self._project(sequence.memory_scope) if keeps else None
            tokens = request.window + array("i", sequence.tokens[request.num_seen :])
            known = len(request.window)
            before = 0 if shared is None else shared.num_bytes
            learn(request.table, shared, tokens, known, known + max(0, sequence.num_prompt_tokens - request.num_seen))
            request.window, request.num_seen = tokens[-LONGEST:], length
            if shared is not None and shared.num_bytes > before:
                self._evict()
        return request

    def _project(self, project_id: str) -> ContextTable | None:
        """The project's table, now the most recently used. None while the store reads an older one."""
        table = self._projects.pop(project_id, None)
        if table is None:
            if self.store is not None and self.store.ask(project_id):
                return None
            table = self._seeds.pop(project_id, None) or ContextTable(self.project_bytes, native=self.native)
            self._projects[project_id] = table
            self._evict()
        else:
            self._projects[project_id] = table
        return table

    def _evict(self) -> None:
        """Down to the quota: seeds that nobody has used yet go first, then the least recently used projects."""
        while self._kept_bytes > self.max_bytes and len(self._projects) + len(self._seeds) > 1:
            oldest = self._seeds or self._projects
            project_id = next(iter(oldest))
            if oldest is self._projects:
                self._save(project_id)
            del oldest[project_id]

    def _save(self, project_id: str) -> None:
        table = self._projects.get(project_id)
        if self.store is not None and table is not None and table.num_learned != self._saved.get(project_id):
            self._saved[project_id] = table.num_learned
            self.store.save(project_id, table.to_bytes())
