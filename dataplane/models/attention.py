"""Attention over the slot cache, for several sequences with several query rows each.

Floating-point sums must not depend on what else runs in the batch or on how many tokens a step looks ahead: greedy
decoding is bit-identical with and without speculation. So the shapes that the attention kernel sees are quantised:
query rows of a sequence are padded to 8 or 16 (prefill chunks stay as they are: a prompt is always cut at the same
places), keys are padded to whole blocks, and neighbouring slots share a call because the kernel treats the
sequences of a batch independently.

Notation: R rows in the forward, b sequences in a group, n padded query rows each, L padded keys,
G query heads per key-value head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dataplane.models.kv_cache import KEY_BLOCK, KvCache

ROW_COUNTS = (8, 16)


@dataclass(frozen=True, slots=True)
class Span:
    """Positions start..start+count of the sequence in `slot`: the rows that it contributes to a forward."""

    slot: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Neighbouring slots that one attention call serves."""

    first_row: int  # of the cache
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


def plan_attention(
    spans: Sequence[Span], cache: KvCache, *, group_size: int, dtype: torch.dtype, padded: bool = True
) -> AttentionPlan:
    """Lay out a forward over `spans`, whose rows follow each other in this order.

    `padded` False leaves row counts as they are: for prefill chunks (one span), and where bits don't matter.
    """
    device = cache.layers[0].device
    first_rows = [0]
    for span in spans:
        first_rows.append(first_rows[-1] + span.count)
    groups = []
    scatter = [0] * first_rows[-1]
    next_padded = 0
    for members in _neighbours(spans):
        counts = [spans[index].count for index in members]
        num_rows = _padded_rows(max(counts)) if padded else max(counts)
        num_keys = -(-max(spans[index].start + spans[index].count for index in members) // KEY_BLOCK) * KEY_BLOCK
        gather = []
        last_visible = []
        for index in members:
            span, first = spans[index], first_rows[index]
            for row in range(num_rows):
                real = min(row, span.count - 1)  # padding repeats the last row: finite, and nobody reads it
                gather.append(first + real)
                last_visible.append(span.start + real)
                if row < span.count:
                    scatter[first + row] = next_padded + row
            next_padded += num_rows
        limits = torch.tensor(last_visible, device=device).view(len(members), 1, 1, num_rows, 1)
        visible = torch.arange(num_keys, device=device) <= limits.expand(-1, 1, group_size, -1, 1)
        mask = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, float("-inf"))
        identity = gather == list(range(first_rows[-1]))
        groups.append(
            AttentionGroup(
                first_row=spans[members[0]].slot * cache.stride,
                num_sequences=len(members),
                num_rows=num_rows,
                num_keys=num_keys,
                gather=None if identity else torch.tensor(gather, device=device),
                mask=mask.view(len(members), 1, group_size * num_rows, num_keys),
            )
        )
    identity = scatter == list(range(next_padded))
    return AttentionPlan(
        positions=torch.cat([torch.arange(s.start, s.start + s.count, device=device) for s in spans]),
        cache_rows=torch.cat(
            [torch.arange(s.slot * cache.stride + s.start, s.slot * cache.stride + s.start + s.count) for s in spans]
        ).to(device),
        stride=cache.stride,
        groups=tuple(groups),
        scatter=None if identity else torch.tensor(scatter, device=device),
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
            group.first_row * width,
        )
        output = F.scaled_dot_product_attention(rows, block[:, 0], block[:, 1], attn_mask=group.mask)
        output = output.view(group.num_sequences, num_kv_heads, group_size, group.num_rows, dim)
        outputs.append(output.permute(0, 3, 1, 2, 4).reshape(-1, num_heads * dim))
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return output if plan.scatter is None else output.index_select(0, plan.scatter)


def _neighbours(spans: Sequence[Span]) -> list[list[int]]:
    """Indices of spans, grouped into runs of consecutive slots."""
    groups: list[list[int]] = []
    for index in sorted(range(len(spans)), key=lambda index: spans[index].slot):
        if groups and spans[groups[-1][-1]].slot + 1 == spans[index].slot:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _padded_rows(count: int) -> int:
    for rows in ROW_COUNTS:
        if count <= rows:
            return rows
    return -(-count // ROW_COUNTS[-1]) * ROW_COUNTS[-1]
