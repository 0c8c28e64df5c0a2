"""Attention over the slot cache, for several sequences with several query rows each.

Floating-point sums must not depend on what else runs in the batch or on how many tokens a step looks ahead: greedy
decoding is bit-identical with and without speculation. On a CPU two things decide the order of the sums: how many keys
the attention kernel sees, and whether a matrix product has one row or more. So a row sees a number of keys that
depends on its position alone (whole blocks of them, the rest masked; a step that crosses a border between blocks is
cut there), and a forward of one row runs that row twice. The number of query rows and of sequences in a call then
makes no difference (tests/dataplane/models/test_bit_exactness.py).

Notation: R rows in the forward, b sequences in a group, n padded query rows each, L padded keys,
G query heads per key-value head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dataplane.models.kv_cache import KEY_BLOCK, KvCache

ROW_COUNTS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Span:
    """Positions start..start+count of the sequence in `slot`: the rows that it contributes to a forward."""

    slot: int
    start: int
    count: int
    # Rows after these that stand at position start + 1 too, each beside the second one; only in models/native.py.
    alternatives: int = 0


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Neighbouring slots that one attention call serves."""

    first_cache_row: int
    num_sequences: int  # b
    num_rows: int  # n
    num_keys: int  # L
    gather: torch.Tensor | None  # [b * n] row of the forward for each padded row; None: the rows are exactly these
    mask: torch.Tensor  # [b, 1, G * n, L], 0 or -inf


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Everything about a forward that its layers share."""

    positions: torch.Tensor  # [R]
    cache_rows: torch.Tensor  # [R]
    stride: int
    groups: tuple[AttentionGroup, ...]
    scatter: torch.Tensor | None  # [R] padded row of each row, groups concatenated; None: they are the same
    doubled: bool  # the only row stands twice


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of one sequence that see the same number of keys."""

    slot: int
    first_row: int
    positions: tuple[int, ...]
    num_rows: int  # padded
    num_keys: int  # padded


def plan_attention(spans: Sequence[Span], cache: KvCache, *, group_size: int, dtype: torch.dtype) -> AttentionPlan:
    """Lay out a forward over `spans`, whose rows follow each other in this order."""
    device = cache.layers[0].device
    positions = [position for span in spans for position in range(span.start, span.start + span.count)]
    cache_rows = [span.slot * cache.stride + span.start + row for span in spans for row in range(span.count)]
    if doubled := len(positions) == 1:
        positions, cache_rows = positions * 2, cache_rows * 2
        pieces = [_Piece(spans[0].slot, 0, tuple(positions), 2, _padded_keys(positions[0]))]
    else:
        pieces = _cut(spans)
    groups: list[AttentionGroup] = []
    scatter = [0] * len(positions)
    next_padded = 0
    for members in _neighbours(pieces):
        gather, visible = [], []
        for piece in members:
            for row in range(piece.num_rows):
                real = min(row, len(piece.positions) - 1)  # padding repeats the last row: finite, and nobody reads it
                gather.append(piece.first_row + real)
                visible.append(piece.positions[real])
                if row == real:
                    scatter[gather[-1]] = next_padded + row
            next_padded += piece.num_rows
        first = members[0]
        shape = (len(members), 1, group_size, first.num_rows, first.num_keys)
        last = torch.tensor(visible, device=device).view(len(members), 1, 1, first.num_rows, 1)
        mask = torch.zeros((len(members), 1, 1, *shape[3:]), dtype=dtype, device=device)
        mask.masked_fill_(torch.arange(first.num_keys, device=device) > last, float("-inf"))
        groups.append(
            AttentionGroup(
                first_cache_row=first.slot * cache.stride,
                num_sequences=len(members),
                num_rows=first.num_rows,
                num_keys=first.num_keys,
                gather=None if gather == list(range(len(positions))) else torch.tensor(gather, device=device),
                mask=mask.expand(shape).reshape(len(members), 1, group_size * first.num_rows, first.num_keys),
            )
        )
    return AttentionPlan(
        positions=torch.tensor(positions, device=device),
        cache_rows=torch.tensor(cache_rows, device=device),
        stride=cache.stride,
        groups=tuple(groups),
        scatter=None if scatter == list(range(next_padded)) else torch.tensor(scatter, device=device),
        doubled=doubled,
    )


def attend(
    plan: AttentionPlan,
    queries: torch.Tensor,  # [R, heads, dim]
    keys_values: torch.Tensor,  # [cache rows, 2 * kv * dim], holds the forward's own rows already
    *,
    num_kv_heads: int,
) -> torch.Tensor:  # [R, heads * dim]
    """softmax(q k / sqrt(dim) + mask) v per sequence. Query heads of one key-value head ride along as more rows."""
    _, num_heads, dim = queries.shape
    group_size = num_heads // num_kv_heads
    outputs = []
    for group in plan.groups:
        rows = queries if group.gather is None else queries.index_select(0, group.gather)
        shape = (group.num_sequences, group.num_rows, num_kv_heads, group_size, dim)
        rows = rows.view(shape).permute(0, 2, 3, 1, 4).reshape(group.num_sequences, num_kv_heads, -1, dim)
        width = keys_values.stride(0)
        block = keys_values.as_strided(
            (group.num_sequences, 2, num_kv_heads, group.num_keys, dim),
            (plan.stride * width, num_kv_heads * dim, dim, width, 1),
            group.first_cache_row * width,
        )
        output = F.scaled_dot_product_attention(rows, block[:, 0], block[:, 1], attn_mask=group.mask)
        output = output.view(group.num_sequences, num_kv_heads, group_size, group.num_rows, dim)
        outputs.append(output.permute(0, 3, 1, 2, 4).reshape(-1, num_heads * dim))
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return output if plan.scatter is None else output.index_select(0, plan.scatter)


def _cut(spans: Sequence[Span]) -> list[_Piece]:
    """Cut every span where the number of visible key blocks changes."""
    pieces = []
    first_row = 0
    for span in spans:
        position, end = span.start, span.start + span.count
        while position < end:
            num_keys = _padded_keys(position)
            stop = min(end, num_keys)
            row = first_row + position - span.start
            count = stop - position
            pieces.append(_Piece(span.slot, row, tuple(range(position, stop)), _padded_rows(count), num_keys))
            position = stop
        first_row += span.count
    return pieces


def _neighbours(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Runs of pieces of one shape in consecutive slots."""
    groups: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (piece.num_keys, piece.num_rows, piece.slot)):
        last = groups[-1][-1] if groups else None
        if last and (last.num_keys, last.num_rows, last.slot + 1) == (piece.num_keys, piece.num_rows, piece.slot):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _padded_keys(position: int) -> int:
    """Keys that a row at this position sees, itself included, in whole blocks."""
    return (position // KEY_BLOCK + 1) * KEY_BLOCK


def _padded_rows(count: int) -> int:
    for rows in ROW_COUNTS:
        if count <= rows:
            return rows
    return -(-count // ROW_COUNTS[-1]) * ROW_COUNTS[-1]
