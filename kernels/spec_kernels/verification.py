"""Triton kernels for chain verification; `spec_kernels.reference` is their specification.

    logits [R, V] --one program per row--> token [R], accepted [R] --one program per sequence--> tokens, num_accepted

Every row is judged as though all drafts before it had been accepted, so that rows are independent; the second kernel
walks each chain up to its first rejection. A row is read in blocks of the vocabulary and never sorted: the filters
need one threshold each, which a bitwise search over the ordered bits of the logits finds exactly (as many passes as
the dtype has significant bits; they hit the L2 cache). Sums over the vocabulary are in float64, which costs nothing
beside the loads and keeps the draw where the reference has it.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# What a kernel's parameters are is Triton's business; the comments beside them say it.

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from spec_kernels.chains import SamplingBatch, Verification, additions, adjusts_logits, check_shapes
from spec_kernels.reference import as_list, describe

_TARGET, _ACCEPT, _RECOVER = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)  # Purpose

# Bits of a float32 that came from a narrower type are zero below this one: the search need not look at them.
_LOWEST_BIT = {torch.bfloat16: 16, torch.float16: 13, torch.float32: 0}


def verify_chains(
    logits: torch.Tensor,  # [R, V] bfloat16, float16 or float32, rows contiguous
    draft_tokens: torch.Tensor | Sequence[int],  # int64 [R - B]
    offsets: torch.Tensor | Sequence[int],  # int64 [B + 1]
    positions: torch.Tensor | Sequence[int],  # int64 [B] absolute position of the first token under test
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None = None,  # B x [drafts of the sequence, V] float32
    *,
    with_logprobs: bool = False,
    with_stats: bool = False,
    block: int = 4096,
) -> Verification:
    """As `spec_kernels.reference.verify_chains`; `block` vocabulary entries are read at a time (a power of two)."""
    bounds, starts = as_list(offsets), as_list(positions)
    check_shapes(logits, len(draft_tokens), bounds, starts, sampling)
    device, batch = logits.device, len(bounds) - 1
    width = max((end - start for start, end in itertools.pairwise(bounds)), default=1)
    tokens = torch.full((batch, width), -1, dtype=torch.int64, device=device)
    num_accepted = torch.zeros(batch, dtype=torch.int64, device=device)
    result = Verification(num_accepted, tokens)
    if batch == 0:
        return result
    drafts = torch.as_tensor(draft_tokens, dtype=torch.int64, device=device)
    row_token = torch.empty(bounds[-1], dtype=torch.int64, device=device)
    row_accepted = torch.empty(bounds[-1], dtype=torch.int32, device=device)
    row_sequence = [index for index in range(batch) for _ in range(bounds[index], bounds[index + 1])]
    rows = _upload(row_sequence + bounds, device)
    row_sequence_, offsets_ = rows[: bounds[-1]], rows[bounds[-1] :]
    values = _contiguous_rows(logits)
    block = min(block, triton.next_power_of_2(logits.shape[1]))
    if sampling.greedy:
        greedy_rows_kernel[(bounds[-1],)](
            values, values.stride(0), drafts, row_sequence_, offsets_, row_token, row_accepted, logits.shape[1], block
        )
    else:
        outputs = (row_token, row_accepted)
        _judge_sampled(values, drafts, bounds, starts, sampling, draft_probs, row_sequence_, offsets_, outputs, block)
    walk_kernel[(batch,)](row_token, row_accepted, offsets_, tokens, num_accepted, width)
    if not (with_logprobs or with_stats):
        return result
    return describe(
        result, logits, as_list(drafts), bounds, sampling, with_logprobs=with_logprobs, with_stats=with_stats
    )


def _judge_sampled(
    logits: torch.Tensor,
    drafts: torch.Tensor,
    offsets: list[int],
    positions: list[int],
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None,
    row_sequence: torch.Tensor,
    offsets_: torch.Tensor,
    outputs: tuple[torch.Tensor, torch.Tensor],  # row_token, row_accepted
    block: int,
) -> None:
    device, params = logits.device, sampling.params
    if any(adjusts_logits(one) for one in params):
        logits = _adjusted(logits, as_list(drafts), offsets, sampling)
    seeds = [(one.seed & (2**64 - 1)) - (2**64 if one.seed >> 63 & 1 else 0) for one in params]
    integers = _upload(positions + seeds + [one.top_k for one in params], device).view(3, -1)
    floats = torch.tensor(
        [
            [one.temperature for one in params],
            [one.top_p for one in params],
            [one.temperature * math.log(one.min_p) if one.min_p > 0 else -math.inf for one in params],
        ],
        dtype=torch.float64,
    ).to(device, non_blocking=True)
    packed: list[torch.Tensor] = []
    first_probs, count = [], 0  # where a sequence's rows begin among the packed ones, -1: a deterministic proposal
    for one, probs in zip(params, draft_probs or [None] * len(params), strict=True):
        sampled = probs is not None and one.temperature > 0
        first_probs.append(count if sampled else -1)
        if probs is not None and sampled:
            packed.append(probs.float())
            count += probs.shape[0]
    sampled_rows_kernel[(offsets[-1],)](
        logits,
        logits.stride(0),
        drafts,
        row_sequence,
        offsets_,
        integers[0],
        integers[1],
        integers[2],
        floats[0],
        floats[1],
        floats[2],
        torch.cat(packed) if packed else floats,
        _upload(first_probs, device),
        *outputs,
        logits.shape[1],
        block,
        _LOWEST_BIT[logits.dtype],
        count > 0,
        any(0 < one.top_k < logits.shape[1] for one in params),
        any(one.top_p < 1 for one in params),
    )


def _upload(integers: list[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(integers, dtype=torch.int64).to(device, non_blocking=True)


def _contiguous_rows(logits: torch.Tensor) -> torch.Tensor:
    if logits.dtype not in _LOWEST_BIT:
        logits = logits.float()
    return logits if logits.stride(-1) == 1 else logits.contiguous()


def _adjusted(logits: torch.Tensor, drafts: list[int], offsets: list[int], sampling: SamplingBatch) -> torch.Tensor:
    """A float32 copy with bias added and penalties subtracted, row by row."""
    rows, tokens, values = [], [], []
    for index, params in enumerate(sampling.params):
        if not adjusts_logits(params):
            continue
        counts = Counter(sampling.outputs[index])
        for row in range(offsets[index], offsets[index + 1]):
            for token, value in additions(params, counts, logits.shape[1]).items():
                rows.append(row)
                tokens.append(token)
                values.append(value)
            if row + 1 < offsets[index + 1]:
                counts[drafts[row - index]] += 1
    adjusted = logits.float().clone()
    where = _upload(rows + tokens, logits.device).view(2, -1)
    added = torch.tensor(values, dtype=torch.float32).to(logits.device, non_blocking=True)
    return adjusted.index_put_((where[0], where[1]), added, accumulate=True)


# ------------------------------------------------------------------------------------------------------------ kernels


@triton.jit
def greedy_rows_kernel(
    logits,  # [R, V]
    stride,
    drafts,  # int64 [R - B]
    row_sequence,  # int64 [R]
    offsets,  # int64 [B + 1]
    row_token,  # out int64 [R] the argmax
    row_accepted,  # out int32 [R] is it the draft token under test?
    vocabulary,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    sequence = tl.load(row_sequence + row)
    last = row + 1 == tl.load(offsets + sequence + 1)
    draft = tl.load(drafts + row - sequence, mask=last == 0, other=-1)
    best, _ = _argmax(logits + row * stride, vocabulary, BLOCK)
    tl.store(row_token + row, best)
    tl.store(row_accepted + row, ((best == draft) & (last == 0)).to(tl.int32))


@triton.jit
def sampled_rows_kernel(
    logits,  # [R, V]
    stride,
    drafts,  # int64 [R - B]
    row_sequence,  # int64 [R]
    offsets,  # int64 [B + 1]
    positions,  # int64 [B]
    seeds,  # int64 [B]
    top_ks,  # int64 [B]
    temperatures,  # float64 [B]
    top_ps,  # float64 [B]
    min_offsets,  # float64 [B] temperature * log(min_p): how far below the largest logit is still kept
    draft_probs,  # float32 [sampled drafts, V]
    first_probs,  # int64 [B] row of draft_probs of the first draft, or -1: the proposal is deterministic
    row_token,  # out int64 [R] the token to emit at this row
    row_accepted,  # out int32 [R] is it the draft token under test, accepted?
    vocabulary,
    BLOCK: tl.constexpr,
    LOWEST_BIT: tl.constexpr,
    HAS_PROBS: tl.constexpr,
    HAS_TOP_K: tl.constexpr,
    HAS_TOP_P: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    sequence = tl.load(row_sequence + row)
    step = row - tl.load(offsets + sequence)
    last = row + 1 == tl.load(offsets + sequence + 1)
    draft = tl.load(drafts + row - sequence, mask=last == 0, other=-1)
    values = logits + row * stride
    token, largest = _argmax(values, vocabulary, BLOCK)
    accepted = token == draft
    temperature = tl.load(temperatures + sequence).to(tl.float32)
    if temperature > 0:
        seed = tl.load(seeds + sequence)
        position = tl.load(positions + sequence) + step
        threshold = float("-inf")
        if HAS_TOP_K:
            top_k = tl.load(top_ks + sequence)
            if (top_k > 0) & (top_k < vocabulary):
                goal = top_k.to(tl.float64)
                threshold = _threshold(values, goal, largest, temperature, vocabulary, BLOCK, LOWEST_BIT, True)
        if HAS_TOP_P:
            top_p = tl.load(top_ps + sequence)
            if top_p < 1:
                goal = top_p * _mass(values, threshold, largest, temperature, vocabulary, BLOCK)
                nucleus = _threshold(values, goal, largest, temperature, vocabulary, BLOCK, LOWEST_BIT, False)
                threshold = tl.maximum(threshold, nucleus)
        least = (largest.to(tl.float64) + tl.load(min_offsets + sequence)).to(tl.float32)
        threshold = tl.minimum(tl.maximum(threshold, least), largest)
        total = _mass(values, threshold, largest, temperature, vocabulary, BLOCK)
        first = tl.load(first_probs + sequence)
        if HAS_PROBS and (first >= 0) & (last == 0):
            probs = draft_probs + (first + step) * vocabulary
            inside = (draft >= 0) & (draft < vocabulary)
            logit = tl.load(values + draft, mask=inside, other=float("-inf")).to(tl.float32)
            weight = _weight(logit, threshold, largest, temperature)
            proposed = tl.load(probs + draft, mask=inside, other=0.0).to(tl.float64)
            accepted = inside & (_uniform(seed, position, _ACCEPT) * proposed < weight / total)
            token = draft
            if accepted == 0:
                coin = _uniform(seed, position, _RECOVER)
                token = _draw(values, probs, coin, total, threshold, largest, temperature, vocabulary, BLOCK, True)
                if token < 0:  # nothing is left: target and draft are equal up to rounding
                    token = _draw(values, probs, coin, total, threshold, largest, temperature, vocabulary, BLOCK, False)
        else:
            coin = _uniform(seed, position, _TARGET)
            token = _draw(values, draft_probs, coin, total, threshold, largest, temperature, vocabulary, BLOCK, False)
            accepted = token == draft
    tl.store(row_token + row, token)
    tl.store(row_accepted + row, (accepted & (last == 0)).to(tl.int32))


@triton.jit
def walk_kernel(
    row_token,  # int64 [R]
    row_accepted,  # int32 [R]
    offsets,  # int64 [B + 1]
    tokens,  # out int64 [B, width], filled with -1
    num_accepted,  # out int64 [B]
    width,
):
    sequence = tl.program_id(0)
    start = tl.load(offsets + sequence)
    stop = tl.load(offsets + sequence + 1)
    row = start
    tl.store(tokens + sequence * width, tl.load(row_token + row))
    while tl.load(row_accepted + row) != 0:  # the last row of a chain accepts nothing
        row += 1
        tl.store(tokens + sequence * width + row - start, tl.load(row_token + row))
    tl.store(num_accepted + sequence, tl.minimum(row, stop - 1) - start)


@triton.jit
def _argmax(values, vocabulary, BLOCK: tl.constexpr):
    """Index (the lowest of equals) and value of the largest logit."""
    best = tl.full((), 0, tl.int64)
    largest = tl.full((), float("-inf"), tl.float32)
    for start in range(0, vocabulary, BLOCK):
        lanes = start + tl.arange(0, BLOCK)
        block = tl.load(values + lanes, mask=lanes < vocabulary, other=float("-inf")).to(tl.float32)
        value, index = tl.max(block, axis=0, return_indices=True, return_indices_tie_break_left=True)
        best = tl.where(value > largest, start + index, best).to(tl.int64)
        largest = tl.maximum(largest, value)
    return best, largest


@triton.jit
def _weight(logits, threshold, largest, temperature):
    """Unnormalised probability, float64; 0 below the threshold."""
    return tl.where(logits >= threshold, tl.exp((logits - largest) / temperature), 0.0).to(tl.float64)


@triton.jit
def _mass(values, threshold, largest, temperature, vocabulary, BLOCK: tl.constexpr):
    total = tl.full((), 0.0, tl.float64)
    for start in range(0, vocabulary, BLOCK):
        lanes = start + tl.arange(0, BLOCK)
        block = tl.load(values + lanes, mask=lanes < vocabulary, other=float("-inf")).to(tl.float32)
        total += tl.sum(_weight(block, threshold, largest, temperature), axis=0)
    return total


@triton.jit
def _threshold(
    values,
    goal,
    largest,
    temperature,
    vocabulary,
    BLOCK: tl.constexpr,
    LOWEST_BIT: tl.constexpr,
    COUNT: tl.constexpr,
):
    """The largest x such that the logits >= x reach `goal`, in number (COUNT) or else in unnormalised mass.

    Floats are compared through `key`, an unsigned integer of the same order; its bits are settled from the top.
    """
    found = tl.full((), 0, tl.uint32)
    bit = tl.full((), 0x80000000, tl.uint32)
    for _ in range(32 - LOWEST_BIT):
        candidate = found | bit
        bit = bit >> 1
        reached = tl.full((), 0.0, tl.float64)
        for start in range(0, vocabulary, BLOCK):
            lanes = start + tl.arange(0, BLOCK)
            inside = lanes < vocabulary
            block = tl.load(values + lanes, mask=inside, other=float("-inf")).to(tl.float32)
            block = tl.where(block == 0, 0.0, block)  # -0.0 equals 0.0
            bits = block.to(tl.uint32, bitcast=True)
            key = tl.where((bits >> 31) != 0, ~bits, bits | 0x80000000)
            if COUNT:
                weight = tl.full((BLOCK,), 1.0, tl.float64)
            else:
                weight = _weight(block, float("-inf"), largest, temperature)
            reached += tl.sum(tl.where(inside & (key >= candidate), weight, 0.0), axis=0)
        found = tl.where((reached >= goal) & (reached > 0), candidate, found)
    bits = tl.where((found >> 31) != 0, found & 0x7FFFFFFF, ~found)
    # found == 0 would be a NaN: rounding alone kept the sum below the goal, so nothing is cut
    return tl.where(found == 0, float("-inf"), bits.to(tl.float32, bitcast=True))


@triton.jit
def _draw_weight(values, probs, lanes, total, threshold, largest, temperature, vocabulary, RECOVER: tl.constexpr):
    inside = lanes < vocabulary
    block = tl.load(values + lanes, mask=inside, other=float("-inf")).to(tl.float32)
    weight = _weight(block, threshold, largest, temperature)
    weight = tl.where(inside, weight, 0.0)
    if RECOVER:
        draft = tl.load(probs + lanes, mask=inside, other=0.0).to(tl.float64)
        weight = tl.maximum(weight / total - draft, 0.0)
    return weight


@triton.jit
def _draw(
    values,
    probs,
    coin,
    total,
    threshold,
    largest,
    temperature,
    vocabulary,
    BLOCK: tl.constexpr,
    RECOVER: tl.constexpr,
):
    """Inverse of the cumulative distribution in the order of token ids; -1 if all weights are zero."""
    mass = total
    if RECOVER:
        mass = tl.full((), 0.0, tl.float64)
        for start in range(0, vocabulary, BLOCK):
            lanes = start + tl.arange(0, BLOCK)
            weight = _draw_weight(values, probs, lanes, total, threshold, largest, temperature, vocabulary, RECOVER)
            mass += tl.sum(weight, axis=0)
    goal = coin * mass
    token = tl.full((), -1, tl.int64)
    before = tl.full((), 0.0, tl.float64)
    for start in range(0, vocabulary, BLOCK):
        if before <= goal:  # else the token has been found
            lanes = start + tl.arange(0, BLOCK)
            weight = _draw_weight(values, probs, lanes, total, threshold, largest, temperature, vocabulary, RECOVER)
            positive = tl.max(tl.where(weight > 0, lanes, -1), axis=0)
            beyond = (before + tl.cumsum(weight, axis=0) > goal) & (weight > 0)
            first = tl.min(tl.where(beyond, lanes, vocabulary), axis=0)
            # the last token that can be drawn stands in where rounding leaves the goal beyond the sum
            token = tl.where(first < vocabulary, first, tl.where(positive >= 0, positive, token)).to(tl.int64)
            before = tl.where(first < vocabulary, float("inf"), before + tl.sum(weight, axis=0))
    return token


@triton.jit
def _uniform(seed, position, PURPOSE: tl.constexpr):
    """`spec_kernels.randomness.uniform`: a double in [0, 1)."""
    low = (position & 0xFFFFFFFF).to(tl.uint32)
    high = ((position >> 32) & 0xFFFFFFFF).to(tl.uint32)
    zero = tl.full((), 0, tl.uint32)
    first, second, _, _ = tl.philox(seed, low, high, zero + PURPOSE, zero)
    return first.to(tl.float64) * 2.0**-32 + (second >> 11).to(tl.float64) * 2.0**-53
