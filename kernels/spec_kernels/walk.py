"""Third launch of verification: every sequence's chain up to its first rejection, and the one token recovered there.

The recovered token needs the whole residual max(target - draft, 0). Only the row of the first rejection has one, so
that is where it is computed; a draft vocabulary is read through its map and never spread over the target's.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

from spec_kernels.decide import RECOVER_LATER
from spec_kernels.primitives import coin, first_beyond, read, weigh
from spec_kernels.scan import PEAK

RECOVER = tl.constexpr(2)  # Purpose


@triton.jit(do_not_specialize=["num_rows", "num_chunks", "width"])  # they change, the binary doesn't
def walk_kernel(
    logits,  # [R, V]
    stride,
    adjusted,  # float32 [R, V]
    is_adjusted,  # int32 [B]
    partials,  # float32 [6, R, S]
    offsets,  # int64 [B + 1]
    cutoffs,  # int64 [B]
    positions,  # int64 [B]
    seeds,  # int64 [B]
    temperatures,  # float64 [B]
    draft_probs,  # float32 [sampled drafts, Vd]
    draft_width,  # Vd
    first_probs,  # int64 [B]
    draft_ids,  # int32 [V]
    row_token,  # int64 [R]
    row_accepted,  # int32 [R]
    row_bounds,  # float32 [3, R]
    row_total,  # float64 [R]
    residuals,  # scratch float64 [B, S]
    tokens,  # out int64 [B, width] accepted tokens, then the recovered or bonus token, then -1
    num_accepted,  # out int64 [B]
    logprobs,  # out float32 [B, width] of the unmodified softmax, 0 behind the last token
    num_rows,
    vocabulary,
    num_chunks,
    width,
    WIDTH: tl.constexpr,
    CHUNKS: tl.constexpr,
    CHUNK: tl.constexpr,
    ADJUST: tl.constexpr,
    PROBS: tl.constexpr,
    MAPPED: tl.constexpr,
    LOGPROBS: tl.constexpr,
):
    sequence = tl.program_id(0).to(tl.int64)
    start = tl.load(offsets + sequence)
    length = tl.minimum(tl.load(offsets + sequence + 1) - start - 1, tl.load(cutoffs + sequence))
    steps = tl.arange(0, WIDTH)
    accepted = tl.load(row_accepted + start + steps, mask=steps < length, other=0)
    count = tl.min(tl.where(accepted == 0, steps, WIDTH), axis=0)
    row = start + count
    last = tl.load(row_token + row)
    if PROBS:
        if last == RECOVER_LATER:
            is_changed = 0
            if ADJUST:
                is_changed = tl.load(is_adjusted + sequence)
            probs = draft_probs + (tl.load(first_probs + sequence) + count) * draft_width
            share = coin(tl.load(seeds + sequence), tl.load(positions + sequence) + count, RECOVER)
            last = _recover(logits + row * stride, adjusted + row * vocabulary, is_changed,
                            partials + PEAK * num_rows.to(tl.int64) * num_chunks + row * num_chunks, probs, draft_ids,
                            draft_width, residuals + sequence * num_chunks, share,
                            tl.load(row_bounds + row), tl.load(row_bounds + num_rows + row), tl.load(row_total + row),
                            tl.load(temperatures + sequence).to(tl.float32), vocabulary, num_chunks,
                            CHUNKS, CHUNK, ADJUST, MAPPED)  # fmt: skip
    drafted = tl.load(row_token + start + steps, mask=steps < count, other=-1)
    emitted = tl.where(steps == count, last, drafted)
    tl.store(tokens + sequence * width + steps, emitted, mask=steps < width)
    tl.store(num_accepted + sequence, count.to(tl.int64))
    if LOGPROBS:
        valid = steps <= count
        logit = tl.load(logits + (start + steps) * stride + emitted, mask=valid, other=0.0).to(tl.float32)
        mass = tl.load(row_bounds + 2 * num_rows + start + steps, mask=valid, other=0.0)
        tl.store(logprobs + sequence * width + steps, tl.where(valid, logit - mass, 0.0), mask=steps < width)


@triton.jit
def _recover(values, changed, is_changed, chunk_peaks, probs, draft_ids, draft_width, residuals, share, threshold,
             largest, total, temperature, vocabulary, num_chunks, CHUNKS: tl.constexpr, CHUNK: tl.constexpr,
             ADJUST: tl.constexpr, MAPPED: tl.constexpr):  # fmt: skip
    """A token from max(target - draft, 0), normalised; from the target if nothing is left of that but rounding."""
    drafts = tl.full((), 1.0, tl.float64)  # how much of the draft probabilities is taken off
    mass = tl.full((), 0.0, tl.float64)
    chunks = tl.arange(0, CHUNKS)
    masses = tl.full((CHUNKS,), 0.0, tl.float64)
    for attempt in range(2):
        if mass <= 0:
            if attempt == 1:
                drafts = drafts * 0.0
            for chunk in range(num_chunks):
                here = tl.full((), 0.0, tl.float64)
                if tl.load(chunk_peaks + chunk) >= threshold:  # else the filters leave nothing of it
                    _, rest = _residual(values, changed, is_changed, chunk, probs, draft_ids, draft_width, drafts,
                                        threshold, largest, total, temperature, vocabulary, CHUNK, ADJUST,
                                        MAPPED)  # fmt: skip
                    here = tl.sum(rest, axis=0)
                tl.store(residuals + chunk, here)
            tl.debug_barrier()
            masses = tl.load(residuals + chunks, mask=chunks < num_chunks, other=0.0)
            mass = tl.sum(masses, axis=0)
            tl.debug_barrier()
    goal = share * mass
    chunk, _ = first_beyond(masses, chunks, goal, 0.0, 0)
    before = tl.sum(tl.where(chunks < chunk, masses, 0.0), axis=0)
    lanes, rest = _residual(values, changed, is_changed, chunk, probs, draft_ids, draft_width, drafts, threshold,
                            largest, total, temperature, vocabulary, CHUNK, ADJUST, MAPPED)  # fmt: skip
    token, _ = first_beyond(rest, lanes, goal, before, 0)
    return token.to(tl.int64)


@triton.jit
def _residual(values, changed, is_changed, chunk, probs, draft_ids, draft_width, drafts, threshold, largest, total,
              temperature, vocabulary, CHUNK: tl.constexpr, ADJUST: tl.constexpr, MAPPED: tl.constexpr):  # fmt: skip
    lanes = chunk * CHUNK + tl.arange(0, CHUNK)
    inside = lanes < vocabulary
    target = weigh(read(values, changed, is_changed, lanes, inside, ADJUST), threshold, largest, temperature) / total
    ids = lanes
    if MAPPED:
        ids = tl.load(draft_ids + lanes, mask=inside, other=-1)
    hot = inside & (ids >= 0) & (ids < draft_width)
    draft = tl.load(probs + ids, mask=hot, other=0.0).to(tl.float64)
    return lanes, tl.where(inside, tl.maximum(target - draft * drafts, 0.0), 0.0)
