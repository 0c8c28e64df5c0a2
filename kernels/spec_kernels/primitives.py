"""What the verification kernels share: order-preserving keys of floats, weights, coins, the rows of a ragged chain."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# What a kernel's parameters are is Triton's business; the comments beside them say it.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def chain_of(row, offsets, cutoffs, batch, BATCH: tl.constexpr):
    """Sequence of a row, its step in the chain, how many drafts of the chain are under test, and if it has a draft.

    A row behind the last sequence (a captured graph has a fixed number of rows) belongs to sequence `batch`.
    """
    lanes = tl.arange(0, BATCH)
    ends = tl.load(offsets + 1 + lanes, mask=lanes < batch, other=0)
    sequence = tl.sum(((lanes < batch) & (ends <= row)).to(tl.int64), axis=0)
    inside = sequence < batch
    start = tl.load(offsets + sequence, mask=inside, other=0)
    stop = tl.load(offsets + sequence + 1, mask=inside, other=0)
    cutoff = tl.load(cutoffs + sequence, mask=inside, other=0)
    return sequence, row - start, tl.minimum(stop - start - 1, cutoff), row + 1 < stop


@triton.jit
def ordered(values):
    """float32 -> uint32 of the same order; -0.0 equals 0.0."""
    bits = tl.where(values == 0, 0.0, values).to(tl.uint32, bitcast=True)
    return tl.where((bits >> 31) != 0, ~bits, bits | 0x80000000)


@triton.jit
def from_ordered(key):
    """The float of a key. Key 0 would be a NaN: nothing reached the goal, so nothing is cut."""
    bits = tl.where((key >> 31) != 0, key & 0x7FFFFFFF, ~key)
    return tl.where(key == 0, float("-inf"), bits.to(tl.float32, bitcast=True))


@triton.jit
def weigh(logits, threshold, largest, temperature):
    """Unnormalised probability, float64; 0 below the threshold."""
    return tl.where(logits >= threshold, tl.exp((logits - largest) / temperature), 0.0).to(tl.float64)


@triton.jit
def read(values, adjusted, is_adjusted, lanes, inside, ADJUST: tl.constexpr):
    """Logits as float32, from the adjusted copy where the row has one; -inf outside."""
    if ADJUST:
        copied = lanes * 0 + is_adjusted != 0  # as many as lanes: the interpreter takes no scalar in a mask
        plain = tl.load(values + lanes, mask=inside & (copied == 0), other=float("-inf")).to(tl.float32)
        changed = tl.load(adjusted + lanes, mask=inside & copied, other=float("-inf"))
        return tl.where(copied, changed, plain)
    else:
        return tl.load(values + lanes, mask=inside, other=float("-inf")).to(tl.float32)


@triton.jit
def first_beyond(weights, lanes, goal, before, NOTHING: tl.constexpr):
    """The lowest of ascending `lanes` at which the running sum, which starts at `before`, exceeds `goal`.

    Where rounding leaves the goal beyond the sum, the last lane that can be drawn stands in; NOTHING if there is none.
    """
    beyond = (before + tl.cumsum(weights, axis=0) > goal) & (weights > 0)
    first = tl.min(tl.where(beyond, lanes, 0x7FFFFFFF), axis=0)
    last = tl.max(tl.where(weights > 0, lanes, NOTHING), axis=0)
    return tl.where(first != 0x7FFFFFFF, first, last), first != 0x7FFFFFFF


@triton.jit
def coin(seed, position, PURPOSE: tl.constexpr):
    """`spec_kernels.randomness.uniform`: a double in [0, 1)."""
    low = (position & 0xFFFFFFFF).to(tl.uint32)
    high = ((position >> 32) & 0xFFFFFFFF).to(tl.uint32)
    zero = tl.full((), 0, tl.uint32)
    first, second, _, _ = tl.philox(seed, low, high, zero + PURPOSE, zero)
    return first.to(tl.float64) * 2.0**-32 + (second >> 11).to(tl.float64) * 2.0**-53
