"""Draft chains of an EAGLE-3 head in one call: source/draft.cpp. Weights of 8 bits; drafts need not be exact."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from cpu_kernels.library import Library
from cpu_kernels.packing import PANEL, Matrix, PackedLinear, PackedWeights, pack, padded_size

MAX_RANK = 64
MAX_WAITING = 32  # committed positions of a slot that wait for its next draft
LOW_RANK_MODULES = ("gate", "up", "down", "head")


class DraftModel(ctypes.Structure):
    """`DraftModel` of source/draft.cpp."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "inner", "heads", "kv_heads", "dim", "hot", "features")),
        ("epsilon", ctypes.c_float),
        ("least_survival", ctypes.c_float),
        ("fuse", ctypes.c_void_p),
        *((name, Matrix) for name in ("projection", "output", "gate_up", "down", "head")),
        *((name, ctypes.c_void_p) for name in ("embedding_norm", "hidden_norm", "mlp_norm", "norm")),
        ("embedding", ctypes.c_void_p),
        ("hot_tokens", ctypes.c_void_p),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
    )


class LowRank(ctypes.Structure):
    """`LowRank` of source/draft.cpp."""

    _fields_ = (("down", ctypes.c_void_p), ("up", ctypes.c_void_p))


class DraftDelta(ctypes.Structure):
    """`DraftDelta` of source/draft.cpp."""

    _fields_ = (("rank", ctypes.c_int64), *((name, LowRank) for name in LOW_RANK_MODULES))


class DraftRow(ctypes.Structure):
    """`DraftRow` of source/draft.cpp."""

    _fields_ = (
        ("cache", ctypes.c_void_p),
        ("position", ctypes.c_int64),
        ("token", ctypes.c_int64),
        ("hidden", ctypes.c_void_p),
        ("num_committed", ctypes.c_int64),
        ("committed", ctypes.c_void_p),
        ("features", ctypes.c_void_p),
        ("lookahead", ctypes.c_int64),
        ("temperature", ctypes.c_float),
        ("delta", ctypes.POINTER(DraftDelta)),
        ("tokens", ctypes.c_void_p),
        ("confidences", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("num_others", ctypes.c_int64),
        ("others", ctypes.c_void_p),
        ("other_confidences", ctypes.c_void_p),
    )


class PackedDelta:
    """A tenant's low-rank change of `gate`, `up`, `down` and `head`, packed for the kernels."""

    def __init__(self, low_rank: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """`low_rank[module]`: ([rank, inputs], [outputs, rank]), one rank of at most MAX_RANK, else ValueError."""
        rank = low_rank["head"][0].shape[0]
        if not 0 < rank <= MAX_RANK:
            raise ValueError(f"a rank of {rank} is not within 1 and {MAX_RANK}")
        self._kept: list[PackedLinear] = []
        parts = {name: self._pack(*low_rank[name], rank % 2) for name in LOW_RANK_MODULES}
        self.value = DraftDelta(rank=rank + rank % 2, **parts)

    def _pack(self, down: torch.Tensor, up: torch.Tensor, odd: int) -> LowRank:
        grown = torch.nn.functional.pad(down, (0, 0, 0, odd)), torch.nn.functional.pad(up, (0, odd))
        packed = [pack(factor.bfloat16()) for factor in grown]
        self._kept += packed
        return LowRank(*(one.address for one in packed))


@dataclass(frozen=True, slots=True)
class Chain:
    """One sequence's part of a call: from which committed position to draft, and how."""

    slot: int
    position: int  # the last committed one
    token: int  # target id paired with it
    lookahead: int
    temperature: float
    delta: PackedDelta | None = None


@dataclass(frozen=True, slots=True)
class Drafted:
    """A chain, and further candidates for its first place, likeliest first."""

    tokens: list[int]  # target ids
    confidences: list[float]
    others: list[int]
    other_confidences: list[float]


class Waiting(NamedTuple):
    """Committed positions that the cache doesn't know yet."""

    start: int
    tokens: ctypes.Array[ctypes.c_int64]
    features: torch.Tensor  # [n, inputs of fuse] bf16, contiguous


class DraftKernels:
    """Packed weights of one drafter, its cache of committed positions, and the calls that use them."""

    def __init__(
        self,
        library: Library,
        weights: Mapping[str, torch.Tensor],
        *,
        embedding: torch.Tensor,  # [V, H] bf16
        hot_tokens: torch.Tensor,  # int64 [Vd]
        cos: torch.Tensor,  # [positions, D]
        sin: torch.Tensor,  # [positions, D], the first half negative
        heads: int,
        kv_heads: int,
        epsilon: float,
        num_slots: int,
    ) -> None:
        """`weights`: fuse, projection, output, gate, up, down, head [out, in], and the norms embedding_norm,
        hidden_norm, mlp_norm and norm [H]."""
        self._library = library
        hidden, inner, dim = weights["output"].shape[0], weights["gate"].shape[0], cos.shape[1]
        self._hold(num_slots, cos.shape[0], 2 * kv_heads * dim, hidden)
        shape = (-1, PANEL, hidden)
        pairs = torch.stack([weights["gate"].reshape(shape), weights["up"].reshape(shape)], 1).reshape(-1, hidden)
        matrices = {name: weights[name] for name in ("projection", "output", "down", "head")} | {"gate_up": pairs}
        # In one arena: more of it can lie on huge pages than of one for each, and a step reads all of it.
        arena = PackedWeights(sum(padded_size(*weight.shape) for weight in matrices.values()), in_bytes=True)
        self.matrices = {name: arena.add(weight) for name, weight in matrices.items()}
        self._fuse = pack(weights["fuse"])
        half = dim // 2
        norms = ("embedding_norm", "hidden_norm", "mlp_norm", "norm")
        self._kept = [weights[name].float().contiguous() for name in norms]
        self._kept += [embedding.contiguous(), hot_tokens.contiguous()]
        self._kept += [cos[:, half:].float().contiguous(), sin[:, half:].float().contiguous()]
        addresses = dict(zip((*norms, "embedding", "hot_tokens", "cos", "sin"), self._kept, strict=True))
        self._model = DraftModel(
            hidden=hidden,
            inner=inner,
            heads=heads,
            kv_heads=kv_heads,
            dim=dim,
            hot=len(hot_tokens),
            features=weights["fuse"].shape[1],
            epsilon=epsilon,
            fuse=self._fuse.address,
            **{name: matrix.pointer() for name, matrix in self.matrices.items()},
            **{name: kept.data_ptr() for name, kept in addresses.items()},
        )
        self._vocabulary = len(embedding)

    def sibling(self, num_slots: int) -> DraftKernels:
        """The same weights with `num_slots` slots of its own."""
        other = copy.copy(self)
        other._hold(num_slots, self._length, self._cache.shape[2], self._hidden.shape[1])
        return other

    def extend(self, slot: int, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        """Commit positions start..start + n of a slot: target ids [n], features [n, inputs of fuse] bf16.

        A few of them wait for the slot's next draft, which is the same call then; nobody may write to `features` until
        then.
        """
        if features.dtype != torch.bfloat16 or features.shape != (len(tokens), self._model.features):
            raise ValueError(f"{features.dtype} {tuple(features.shape)} for {len(tokens)} tokens")
        if min(tokens) < 0 or max(tokens) >= self._vocabulary:
            raise IndexError("a token is outside of the vocabulary")
        if not 0 <= slot < len(self._waiting):
            raise IndexError(f"there is no slot {slot}")
        if start < 0 or start + len(tokens) > self._length:
            raise IndexError(f"positions {start}..{start + len(tokens)} are outside of the cache")
        if (before := self._waiting[slot]) is not None:
            self._extend_now(slot, before)
        features = features if features.is_contiguous() else features.contiguous()
        new = Waiting(start, (ctypes.c_int64 * len(tokens))(*tokens), features)
        self._waiting[slot] = new
        if len(tokens) > MAX_WAITING:
            self._extend_now(slot, new)

    def release(self, slot: int) -> None:
        """The slot's sequence has ended."""
        self._waiting[slot] = None

    def draft(self, chains: Sequence[Chain], least_survival: float, *, num_others: int = 0) -> list[Drafted]:
        """Every chain, with `num_others` further candidates; its slot's positions up to `position` were committed."""
        num_others = min(num_others, self._model.hot - 1)
        most = max((chain.lookahead for chain in chains), default=0)
        if any(chain.position + chain.lookahead > self._length for chain in chains):
            raise IndexError("a chain would leave the cache")
        tokens = (ctypes.c_int64 * (most * len(chains)))()
        confidences = (ctypes.c_float * (most * len(chains)))()
        others = (ctypes.c_int64 * (num_others * len(chains)))()
        other_confidences = (ctypes.c_float * (num_others * len(chains)))()
        rows = (DraftRow * len(chains))()
        first_token, first_confidence = ctypes.addressof(tokens), ctypes.addressof(confidences)
        kept = []  # until the call has returned
        for index, (row, chain) in enumerate(zip(rows, chains, strict=True)):
            row.cache, row.hidden = self._places[chain.slot]
            row.position, row.token, row.lookahead = chain.position, chain.token, chain.lookahead
            if (waiting := self._take(chain)) is not None:
                kept.append(waiting)
                row.num_committed, row.committed = len(waiting.tokens), ctypes.addressof(waiting.tokens)
                row.features = waiting.features.data_ptr()
            row.temperature = chain.temperature
            if chain.delta is not None:
                row.delta = ctypes.pointer(chain.delta.value)
            row.tokens, row.confidences = first_token + 8 * index * most, first_confidence + 4 * index * most
            row.num_others = num_others
            row.others = ctypes.addressof(others) + 8 * index * num_others
            row.other_confidences = ctypes.addressof(other_confidences) + 4 * index * num_others
        self._model.least_survival = least_survival
        self._library.draft(self._model, rows)
        drafted = []
        for index, row in enumerate(rows):
            along = slice(index * most, index * most + row.count)
            beside = slice(index * num_others, (index + 1) * num_others if row.count else index * num_others)
            drafted.append(Drafted(tokens[along], confidences[along], others[beside], other_confidences[beside]))
        return drafted

    def _hold(self, num_slots: int, length: int, width: int, hidden: int) -> None:
        """Slots of `length` positions of `width` values, and what is committed in each."""
        self._length = length
        self._hidden = torch.zeros(num_slots, hidden)
        self._cache = torch.zeros(num_slots, length, width, dtype=torch.bfloat16)
        self._waiting: list[Waiting | None] = [None] * num_slots
        self._places = [
            (cache.data_ptr(), own.data_ptr()) for cache, own in zip(self._cache, self._hidden, strict=True)
        ]

    def _take(self, chain: Chain) -> Waiting | None:
        """What waits for this draft, if it ends where the chain begins."""
        waiting, self._waiting[chain.slot] = self._waiting[chain.slot], None
        if waiting is not None and waiting.start + len(waiting.tokens) != chain.position + 1:
            self._extend_now(chain.slot, waiting)
            return None
        return waiting

    def _extend_now(self, slot: int, waiting: Waiting) -> None:
        self._waiting[slot] = None
        cache, hidden = self._places[slot]
        features = waiting.features.data_ptr()
        self._library.draft_extend(self._model, cache, waiting.start, waiting.tokens, features, hidden)
