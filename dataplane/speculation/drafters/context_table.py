"""Hash of the last n tokens, for several n -> the tokens that followed most often, with their counts. Keeps no text.

A table grows from 16 KB to its quota, and then new contexts displace weak ones: a line of 64 bytes holds three
contexts, and the weakest of them goes, unless all have proved themselves: then the weakest weakens. Counts of tokens
that were not seen for 32,768 learned tokens halve (a line fades when it is touched), and so do counts that reach 64,
so that a habit of yesterday yields to one of today. Three tokens a context: those beyond are counted in the total only
(Misra and Gries, 1982).

The functions here say what the operations mean; where a compiler is found, kernels/cpu_kernels does the same, bit by
bit, on the same bytes.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import MutableSequence, Sequence
from typing import NamedTuple

from cpu_kernels.tables import MAX_MIXED, Table, load_tables

ORDERS = (24, 12, 6, 4, 3, 2, 1)  # context lengths in tokens, longest first
LONGEST = ORDERS[0]
BYTES_PER_LINE = 64
CONTEXTS_PER_LINE = 3
NUM_TOKENS = 3  # that are kept after a context
START_BITS = 8  # a new table has 2^8 lines, if its quota allows
MAX_BITS = 24
FULL = 64  # the total at which counts are halved
ERA_BITS = 15  # an era is 2^15 learned tokens

_ENTRY, _LINE, _ERA = 5, 16, 15  # words
_MASK = (1 << 64) - 1
_CHUNK = 512  # tokens learned between two looks at how full the table is

Words = MutableSequence[int]  # of 32 bits


class Found(NamedTuple):
    """The token after a context, and why the tables believe in it."""

    token: int
    scope: int  # 0: the first table, 1: the second
    order: int  # index into ORDERS
    hits: int
    total: int


class Mix(NamedTuple):
    """Tokens that may come next, and the probability that every expert gives to each."""

    tokens: list[int]
    experts: list[list[float]]  # [1 + len(ORDERS)][len(tokens)]: the drafter, then a posterior for each order


class ContextTable:
    """One table. One thread uses it at a time."""

    def __init__(self, max_bytes: int, *, native: bool = True) -> None:
        """Grows up to `max_bytes` (at least two lines). `native`: use the compiled code if there is any."""
        self._max_bits = min(MAX_BITS, max(2, max_bytes // BYTES_PER_LINE).bit_length() - 1)
        bits = min(START_BITS, self._max_bits)
        self._functions = load_tables() if native else None
        self._words = array("I", bytes(BYTES_PER_LINE << bits))
        self._table = Table(self._words.buffer_info()[0], bits, 0, 0)

    @property
    def num_bytes(self) -> int:
        return BYTES_PER_LINE << int(self._table.line_bits)

    @property
    def num_contexts(self) -> int:
        """How many contexts it knows."""
        return int(self._table.used)

    @property
    def num_learned(self) -> int:
        """How many tokens it has learned from in its life."""
        return int(self._table.learned)

    def learn(self, keys: Sequence[int], token: int) -> None:
        """`token` followed the contexts with these keys (`context_keys`)."""
        self._make_room(len(keys))
        _learn(self._table, self._words, keys, token)

    def recall(self, key: int) -> tuple[int, int, int] | None:
        """(token, count, total) after the context with this key; None if it is unknown."""
        at = _recall(self._table, self._words, key)
        if at is None:
            return None
        counts = self._words[at + 4]
        return self._words[at + 1], counts & 255, counts >> 24

    def to_bytes(self) -> bytes:
        """All of it, for `from_bytes` on a machine with the same byte order."""
        head = array("Q", (self._table.line_bits, self._table.used, self._table.learned))
        return head.tobytes() + self._words.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, max_bytes: int, *, native: bool = True) -> ContextTable:
        """Raises ValueError for what `to_bytes` can't have given, and for a table beyond `max_bytes`."""
        table = cls(max_bytes, native=native)
        head = array("Q", data[:24] if len(data) >= 24 else ())
        if len(head) != 3 or not table._table.line_bits <= head[0] <= table._max_bits:
            raise ValueError("not a context table, or one beyond the quota")
        if len(data) != 24 + (BYTES_PER_LINE << head[0]) or head[1] > CONTEXTS_PER_LINE << head[0]:
            raise ValueError("a context table that was cut off")
        table._words = array("I", data[24:])
        table._table = Table(table._words.buffer_info()[0], *head)
        return table

    def _make_room(self, num_contexts: int) -> None:
        """Twice the lines whenever a third of the places could be taken, up to the quota: fuller lines overflow."""
        table = self._table
        while table.line_bits < self._max_bits and table.used + num_contexts > 1 << table.line_bits:
            words = array("I", bytes(2 * self.num_bytes))
            grown = Table(words.buffer_info()[0], table.line_bits + 1, 0, 0)
            if self._functions is not None:
                self._functions.split(table, grown)
            else:
                _split(table, self._words, grown, words)
            self._words, self._table = words, grown
            table = grown


def learn(own: ContextTable, shared: ContextTable | None, tokens: array[int], begin: int, shared_begin: int) -> None:
    """Learn tokens[begin:] after their contexts; `shared` learns those from `shared_begin` on. tokens: array("i")."""
    for start in range(begin, len(tokens), _CHUNK):
        end = min(start + _CHUNK, len(tokens))
        own._make_room(len(ORDERS) * (end - start))
        if shared is not None:
            shared._make_room(len(ORDERS) * (end - start))
        if own._functions is not None:
            other = None if shared is None else ctypes.byref(shared._table)
            address = tokens.buffer_info()[0]
            own._functions.learn(ctypes.byref(own._table), other, address, start, end, shared_begin)
            continue
        for position in range(start, end):
            keys = context_keys(tokens[max(0, position - LONGEST) : position])
            _learn(own._table, own._words, keys, tokens[position])
            if shared is not None and position >= shared_begin:
                _learn(shared._table, shared._words, keys, tokens[position])


def propose(own: ContextTable, shared: ContextTable | None, window: array[int], lookahead: int) -> list[Found]:
    """Continue the window token by token. Longest context first; see `_likeliest`."""
    if own._functions is not None:
        tokens, reasons = (ctypes.c_int32 * lookahead)(), (ctypes.c_int32 * lookahead)()
        other = None if shared is None else ctypes.byref(shared._table)
        address, size = window.buffer_info()
        count = own._functions.propose(ctypes.byref(own._table), other, address, size, lookahead, tokens, reasons)
        return [
            Found(token, why & 1, why >> 1 & 127, why >> 8 & 255, why >> 16)
            for token, why in zip(tokens[:count], reasons[:count], strict=True)
        ]
    text = list(window)
    found: list[Found] = []
    while len(found) < lookahead:
        one = _likeliest(own, shared, context_keys(text[-LONGEST:]))
        if one is None:
            break
        found.append(one)
        text.append(one.token)
    return found


def mix(
    own: ContextTable,
    shared: ContextTable | None,
    window: array[int],
    candidates: Sequence[int],
    probs: Sequence[float],
    other: float,
    kappa: float,
) -> Mix | None:
    """Dirichlet posteriors (n + weight * centre) / (N + weight), one for each of ORDERS, and the draft itself.

    The centre is the posterior of the next shorter context, and of the shortest the draft (Teh, 2006).

    `candidates` are the drafter's likeliest tokens and `probs` their probabilities; tokens that followed the contexts
    join them, and get `other` from the drafter. weight = kappa / order: a long context proves more. Counts of tokens
    that a context did not keep fall back to the centre. None: nothing is known.
    """
    if own._functions is not None:
        tokens, experts = (ctypes.c_int32 * MAX_MIXED)(), (ctypes.c_double * (MAX_MIXED * (1 + len(ORDERS))))()
        second = None if shared is None else ctypes.byref(shared._table)
        address, size = window.buffer_info()
        drafted, chances = array("i", candidates), array("d", probs)
        count = own._functions.mix(
            ctypes.byref(own._table), second, address, size, drafted.buffer_info()[0], chances.buffer_info()[0],
            len(drafted), other, kappa, tokens, experts,
        )  # fmt: skip
        if not count:
            return None
        starts = range(0, len(experts), MAX_MIXED)
        return Mix(tokens[:count], [experts[start : start + count] for start in starts])
    return _mix([own] if shared is None else [own, shared], context_keys(list(window)), candidates, probs, other, kappa)


def context_keys(window: Sequence[int]) -> list[int]:
    """One key for each order that the window (the last LONGEST tokens, or fewer at the start of a text) can fill."""
    keys: list[int] = []
    value, length = 0x9E3779B97F4A7C15, 0
    for order in reversed(ORDERS):
        if order > len(window):
            break
        while length < order:
            length += 1
            value = (value ^ window[-length]) * 0xD6E8FEB86659FD93 & _MASK
            value ^= value >> 32
        key = value * 0xFF51AFD7ED558CCD & _MASK
        keys.append(key ^ key >> 29)
    return keys[::-1]


# ------------------------------------------------------------------------------------------- the specification


def _place(table: Table, key: int) -> tuple[int, int]:
    """(word at which the key's line begins, its mark). Bits of the mark choose among the lines of a grown table."""
    mark = key >> 32 or 1
    low = min(table.line_bits, START_BITS)
    grown = mark & ((1 << (table.line_bits - low)) - 1)
    return _LINE * (key & ((1 << low) - 1) | grown << low), mark


def _recall(table: Table, words: Words, key: int) -> int | None:
    line, mark = _place(table, key)
    return next((at for at in range(line, line + _ERA, _ENTRY) if words[at] == mark), None)


def _faded(counts: int, halvings: int) -> int:
    first, second, third = (counts >> shift & 255 for shift in (0, 8, 16))
    first, second, third = max(first >> halvings, 1), second >> halvings, third >> halvings
    total = max((counts >> 24) >> halvings, first + second + third)
    return first | second << 8 | third << 16 | total << 24


def _learn(table: Table, words: Words, keys: Sequence[int], token: int) -> None:
    era = table.learned >> ERA_BITS
    table.learned += 1
    for key in keys:
        line, mark = _place(table, key)
        entries = range(line, line + _ERA, _ENTRY)
        age = min(era - words[line + _ERA], 7)
        words[line + _ERA] = era
        for at in entries:
            if age and words[at]:
                words[at + 4] = _faded(words[at + 4], age)
        found = next((at for at in entries if words[at] == mark), None)
        if found is not None:
            _count(words, found, token)
        else:  # the weakest goes; of equals, the one that was used least lately
            found = min(reversed(entries), key=lambda at: words[at + 4] & 255)
            if words[found + 4] & 255 > 1:
                words[found + 4] = _faded(words[found + 4], 1)
                continue
            table.used += words[found] == 0
            words[found : found + _ENTRY] = array("I", (mark, token, 0, 0, 1 | 1 << 24))
        if found != line:  # what was used last comes first
            entry = words[found : found + _ENTRY]
            words[line + _ENTRY : found + _ENTRY] = words[line:found]
            words[line : line + _ENTRY] = entry


def _count(words: Words, at: int, token: int) -> None:
    """Count `token` in the entry at `at`. Tokens stay sorted by count; the first one yields to a greater count only."""
    packed = words[at + 4]
    counts, total = [packed >> shift & 255 for shift in (0, 8, 16)], (packed >> 24) + 1
    place = next((place for place in range(NUM_TOKENS) if counts[place] and words[at + 1 + place] == token), NUM_TOKENS)
    if place < NUM_TOKENS:
        counts[place] += 1
    elif counts[-1] > 1:
        counts[-1] -= 1
    else:
        place = NUM_TOKENS - 1
        words[at + 1 + place], counts[place] = token, 1
    while 0 < place < NUM_TOKENS and counts[place] >= counts[place - 1] + (place == 1):
        counts[place - 1], counts[place] = counts[place], counts[place - 1]
        words[at + place], words[at + 1 + place] = words[at + 1 + place], words[at + place]
        place -= 1
    packed = counts[0] | counts[1] << 8 | counts[2] << 16 | total << 24
    words[at + 4] = _faded(packed, 1) if total >= FULL else packed


def _split(table: Table, words: Words, grown: Table, into: Words) -> None:
    """Spread the lines over twice as many: the next bit of its mark says where an entry goes."""
    bit, half = table.line_bits - START_BITS, _LINE << table.line_bits
    for line in range(0, half, _LINE):
        ends = [line, line + half]
        for start in ends:
            into[start + _ERA] = words[line + _ERA]
        for at in range(line, line + _ERA, _ENTRY):
            if words[at]:
                side = words[at] >> bit & 1
                into[ends[side] : ends[side] + _ENTRY] = words[at : at + _ENTRY]
                ends[side] += _ENTRY
    grown.used, grown.learned = table.used, table.learned


def _likeliest(own: ContextTable, shared: ContextTable | None, keys: Sequence[int]) -> Found | None:
    """The longest match in either table if its token dominates, else the other's if that does, else the longer one."""
    tables = [(0, own)] if shared is None else [(0, own), (1, shared)]
    best: Found | None = None
    for order, key in enumerate(keys, start=len(ORDERS) - len(keys)):
        for scope, table in tuple(tables):
            known = table.recall(key)
            if known is None:
                continue
            found = Found(known[0], scope, order, known[1], known[2])
            if 4 * (found.total - found.hits) <= found.total:
                return found
            best = best or found
            tables.remove((scope, table))
    return best


def _mix(
    tables: Sequence[ContextTable],
    keys: Sequence[int],
    candidates: Sequence[int],
    probs: Sequence[float],
    other: float,
    kappa: float,
) -> Mix | None:
    tokens, rows, is_known = list(candidates), [], False
    for key in [None] * (len(ORDERS) - len(keys)) + list(keys):
        seen: dict[int, int] = {}
        total = 0
        for table in tables if key is not None else ():
            at = None if key is None else _recall(table._table, table._words, key)
            if at is None:
                continue
            is_known, counts = True, table._words[at + 4]
            total += counts >> 24
            for place in range(NUM_TOKENS):
                count = counts >> 8 * place & 255
                if count:
                    token = table._words[at + 1 + place]
                    seen[token] = seen.get(token, 0) + count
                    if token not in tokens:
                        tokens.append(token)
        rows.append((seen, total))
    if not is_known:
        return None
    drafted = [*probs, *[other] * (len(tokens) - len(probs))]
    experts, centre = [], drafted
    for order, (seen, total) in reversed(list(zip(ORDERS, rows, strict=True))):
        weight = kappa / order
        prior = weight + (total - sum(seen.values()))
        centre = [
            (seen.get(token, 0) + prior * chance) / (total + weight)
            for token, chance in zip(tokens, centre, strict=True)
        ]
        experts.append(centre)
    return Mix(tokens, [drafted, *experts[::-1]])
