"""Second launch of verification: every row's verdict, from the chunks' partials and the few logits that matter.

A filter is a threshold on the logit, which a bitwise search over ordered bits finds exactly. It runs on the blocks'
largest logits first: the k-th largest of them, or the point where they alone hold the nucleus's mass, bounds the
threshold from below. Blocks beneath that bound are never read again; those above it are few.

Every row is judged as though all drafts before it had been accepted, so that rows are independent.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

from spec_kernels.primitives import chain_of, coin, first_beyond, from_ordered, ordered, read, weigh
from spec_kernels.scan import MASS, PEAK, RAW_MASS, RAW_MEAN, RAW_PEAK, RAW_SECOND

TARGET, ACCEPT = tl.constexpr(0), tl.constexpr(1)  # Purpose
RECOVER_LATER = tl.constexpr(-2)  # in row_token: the rejected row's token is the walk's business


@triton.jit(do_not_specialize=["num_rows", "batch", "num_chunks", "num_peaks"])  # they change, the binary doesn't
def decide_kernel(
    logits,  # [R, V]
    stride,
    adjusted,  # float32 [R, V] of adjusted sequences
    is_adjusted,  # int32 [B]
    partials,  # float32 [6, R, S]
    places,  # int32 [R, S]
    peaks,  # float32 [R, V / SUB]
    drafts,  # int64 [R - B]
    offsets,  # int64 [B + 1]
    cutoffs,  # int64 [B]
    positions,  # int64 [B] absolute position of the first token under test
    seeds,  # int64 [B]
    top_ks,  # int64 [B]
    temperatures,  # float64 [B]
    top_ps,  # float64 [B]
    min_offsets,  # float64 [B] temperature * log(min_p): how far below the largest logit is still kept
    draft_probs,  # float32 [sampled drafts, Vd]
    draft_width,  # Vd
    first_probs,  # int64 [B] row of draft_probs of the first draft, or -1: the proposal is deterministic
    draft_ids,  # int32 [V] draft id of a target token, or -1; read if MAPPED
    sources,  # int32 [R - B] who drafted; read if SOURCES
    blocks,  # scratch int32 [R, V / SUB]
    row_token,  # out int64 [R] the token to emit at this row, or RECOVER_LATER
    row_accepted,  # out int32 [R] is it the draft token under test, accepted?
    row_bounds,  # out float32 [3, R] threshold, largest logit, log of the unmodified softmax's mass
    row_total,  # out float64 [R] mass of what the filters keep
    draft_stats,  # out float32 [2, R - B] target's and drafter's probability of the draft token
    draft_sources,  # out int32 [R - B] its source; -1: it was not under test
    row_stats,  # out float32 [2, R] entropy and margin of the unmodified softmax
    num_rows,
    batch,
    vocabulary,
    num_chunks,
    num_peaks,
    BATCH: tl.constexpr,
    CHUNKS: tl.constexpr,
    PEAKS: tl.constexpr,
    CHUNK: tl.constexpr,
    STEP: tl.constexpr,
    SUB: tl.constexpr,
    LOWEST_BIT: tl.constexpr,
    ADJUST: tl.constexpr,
    FILTER: tl.constexpr,
    SAMPLE: tl.constexpr,
    PROBS: tl.constexpr,
    MAPPED: tl.constexpr,
    SOURCES: tl.constexpr,
    STATS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    sequence, step, length, has_draft = chain_of(row, offsets, cutoffs, batch, BATCH)
    place = row - sequence  # of the row's draft
    if STATS:
        if has_draft & (step >= length):  # cut off
            tl.store(draft_stats + place, 0.0)
            tl.store(draft_stats + num_rows - batch + place, 0.0)
            if SOURCES:
                tl.store(draft_sources + place, -1)
        if (sequence < batch) & (step > length):
            tl.store(row_stats + row, 0.0)
            tl.store(row_stats + num_rows + row, 0.0)
    if (sequence < batch) & (step <= length):
        under_test = step < length
        draft = tl.load(drafts + place, mask=under_test, other=-1)
        values = logits + row * stride
        changed = adjusted + row * vocabulary
        is_changed = 0
        if ADJUST:
            is_changed = tl.load(is_adjusted + sequence)
        plane = num_rows.to(tl.int64) * num_chunks
        chunks = tl.arange(0, CHUNKS)
        present = chunks < num_chunks
        mine = partials + row * num_chunks + chunks
        chunk_peaks = tl.load(mine + PEAK * plane, mask=present, other=float("-inf"))
        largest = tl.max(chunk_peaks, axis=0)
        at = tl.min(tl.where(present & (chunk_peaks == largest), chunks, CHUNKS), axis=0)
        token = tl.load(places + row * num_chunks + at, mask=at < num_chunks, other=0).to(tl.int64)
        temperature = tl.load(temperatures + sequence).to(tl.float32)
        samples = temperature > 0
        temperature = tl.where(samples, temperature, 1.0)
        masses = tl.load(mine + MASS * plane, mask=present, other=0.0).to(tl.float64)
        masses = masses * tl.exp((chunk_peaks - largest) / temperature).to(tl.float64)
        total = tl.sum(masses, axis=0)
        threshold = tl.full((), float("-inf"), tl.float32)
        count = tl.full((), -1, tl.int32)  # blocks that the filters leave; -1: there are none
        scratch = blocks + row * num_peaks
        if FILTER:
            top_k = tl.load(top_ks + sequence)
            top_p = tl.load(top_ps + sequence)
            least = (largest.to(tl.float64) + tl.load(min_offsets + sequence)).to(tl.float32)
            has_k = (top_k > 0) & (top_k < vocabulary)
            if samples & (has_k | (top_p < 1) | (least > float("-inf"))):
                kth = top_k.to(tl.float64)
                bound = _bound(peaks + row * num_peaks, has_k, kth, top_p, total, least, largest, temperature,
                               num_peaks, PEAKS, LOWEST_BIT)  # fmt: skip
                count = _list_blocks(peaks + row * num_peaks, scratch, bound, num_peaks, PEAKS)
                tl.debug_barrier()  # the list is read by other threads than wrote it
                if has_k:
                    threshold = _threshold(values, changed, is_changed, scratch, count, kth, largest, temperature,
                                           vocabulary, STEP, SUB, LOWEST_BIT, True, ADJUST)  # fmt: skip
                    total = _kept_mass(values, changed, is_changed, scratch, count, threshold, largest, temperature,
                                       vocabulary, STEP, SUB, ADJUST)  # fmt: skip
                if top_p < 1:
                    nucleus = _threshold(values, changed, is_changed, scratch, count, top_p * total, largest,
                                         temperature, vocabulary, STEP, SUB, LOWEST_BIT, False, ADJUST)  # fmt: skip
                    threshold = tl.maximum(threshold, nucleus)
                threshold = tl.minimum(tl.maximum(threshold, least), largest)
                total = _kept_mass(values, changed, is_changed, scratch, count, threshold, largest, temperature,
                                   vocabulary, STEP, SUB, ADJUST)  # fmt: skip
        known = (draft >= 0) & (draft < vocabulary)
        logit = read(values, changed, is_changed, draft, known, ADJUST)
        target_prob = tl.where(known, weigh(logit, threshold, largest, temperature) / total, 0.0)
        draft_prob = tl.full((), 1.0, tl.float64)
        accepted = token == draft
        if SAMPLE:
            if samples:
                seed = tl.load(seeds + sequence)
                position = tl.load(positions + sequence) + step
                first = tl.full((), -1, tl.int64)
                if PROBS:
                    first = tl.load(first_probs + sequence)
                if (first >= 0) & under_test:
                    draft_id = draft
                    if MAPPED:
                        draft_id = tl.load(draft_ids + draft, mask=known, other=-1).to(tl.int64)
                    hot = known & (draft_id >= 0) & (draft_id < draft_width)
                    offset = (first + step) * draft_width + draft_id
                    draft_prob = tl.load(draft_probs + offset, mask=hot, other=0.0).to(tl.float64)
                    accepted = known & (coin(seed, position, ACCEPT) * draft_prob < target_prob)
                    token = tl.where(accepted, draft, RECOVER_LATER)
                else:
                    goal = coin(seed, position, TARGET) * total
                    if count >= 0:
                        token = _draw_listed(values, changed, is_changed, scratch, count, goal, threshold, largest,
                                             temperature, vocabulary, STEP, SUB, ADJUST)  # fmt: skip
                    else:
                        token = _draw_chunked(values, changed, is_changed, masses, chunks, goal, largest, temperature,
                                              vocabulary, CHUNKS, CHUNK, ADJUST)  # fmt: skip
                    accepted = token == draft
        tl.store(row_token + row, token)
        tl.store(row_accepted + row, (accepted & under_test).to(tl.int32))
        tl.store(row_bounds + row, threshold)
        tl.store(row_bounds + num_rows + row, largest)
        tl.store(row_total + row, total)
        if STATS:
            num_drafts = num_rows - batch
            tl.store(draft_stats + place, target_prob.to(tl.float32), mask=under_test)
            tl.store(draft_stats + num_drafts + place, draft_prob.to(tl.float32), mask=under_test)
            if SOURCES:
                tl.store(draft_sources + place, tl.load(sources + place, mask=under_test, other=-1), mask=under_test)
            _describe(mine, plane, present, chunks, row_bounds + 2 * num_rows + row, row_stats + row, num_rows, CHUNKS)


@triton.jit
def _describe(mine, plane, present, chunks, log_mass, stats, num_rows, CHUNKS: tl.constexpr):
    """Entropy, margin and log of the mass of the unmodified softmax, from the partials of its chunks."""
    peaks = tl.load(mine + RAW_PEAK * plane, mask=present, other=float("-inf"))
    seconds = tl.load(mine + RAW_SECOND * plane, mask=present, other=float("-inf"))
    masses = tl.load(mine + RAW_MASS * plane, mask=present, other=0.0).to(tl.float64)
    means = tl.load(mine + RAW_MEAN * plane, mask=present, other=0.0).to(tl.float64)
    largest = tl.max(peaks, axis=0)
    at = tl.min(tl.where(present & (peaks == largest), chunks, CHUNKS), axis=0)
    second = tl.max(tl.where(chunks == at, seconds, peaks), axis=0)
    shift = tl.where(masses > 0, peaks - largest, 0.0)
    scale = tl.exp(shift).to(tl.float64)
    mass = tl.sum(masses * scale, axis=0)
    mean = tl.sum((means + shift.to(tl.float64) * masses) * scale, axis=0) / mass
    log = tl.log(mass)
    tl.store(log_mass, (largest.to(tl.float64) + log).to(tl.float32))
    tl.store(stats, (log - mean).to(tl.float32))
    tl.store(stats + num_rows, ((1.0 - tl.exp(second - largest).to(tl.float64)) / mass).to(tl.float32))


@triton.jit
def _bound(peaks, has_k, kth, top_p, total, least, largest, temperature, num_peaks, PEAKS: tl.constexpr,
           LOWEST_BIT: tl.constexpr):  # fmt: skip
    """A lower bound of the threshold, from the blocks' largest logits alone; -inf: every block may hold what stays."""
    lanes = tl.arange(0, PEAKS)
    present = lanes < num_peaks
    values = tl.load(peaks + lanes, mask=present, other=float("-inf"))
    goal = tl.where(has_k, kth, top_p * total)
    weights = tl.where(has_k, tl.full((PEAKS,), 1.0, tl.float64), weigh(values, float("-inf"), largest, temperature))
    found = tl.full((), 0, tl.uint32)
    bit = tl.full((), 0x80000000, tl.uint32)
    keys = ordered(values)
    for _ in range(32 - LOWEST_BIT):
        candidate = found | bit
        bit = bit >> 1
        reached = tl.sum(tl.where(present & (keys >= candidate), weights, 0.0), axis=0)
        found = tl.where((reached >= goal) & (reached > 0), candidate, found)
    # without top-k and top-p, min-p's threshold is known already
    return tl.where(has_k | (top_p < 1), from_ordered(found), tl.minimum(least, largest))


@triton.jit
def _list_blocks(peaks, scratch, bound, num_peaks, PEAKS: tl.constexpr):
    """Write down, ascending, the blocks whose largest logit reaches the bound. Returns their number."""
    lanes = tl.arange(0, PEAKS)
    present = lanes < num_peaks
    values = tl.load(peaks + lanes, mask=present, other=float("-inf"))
    chosen = (present & (values >= bound)).to(tl.int32)
    tl.store(scratch + tl.cumsum(chosen, axis=0) - 1, lanes, mask=chosen != 0)
    return tl.sum(chosen, axis=0)


@triton.jit
def _tile(scratch, start, count, vocabulary, STEP: tl.constexpr, SUB: tl.constexpr):
    """Token ids [STEP, SUB] of the next listed blocks, ascending, and which of them exist."""
    slots = start + tl.arange(0, STEP)
    blocks = tl.load(scratch + slots, mask=slots < count, other=0)
    lanes = blocks[:, None] * SUB + tl.arange(0, SUB)[None, :]
    return lanes, (slots < count)[:, None] & (lanes < vocabulary)


@triton.jit
def _threshold(values, changed, is_changed, scratch, count, goal, largest, temperature, vocabulary,
               STEP: tl.constexpr, SUB: tl.constexpr, LOWEST_BIT: tl.constexpr, COUNT: tl.constexpr,
               ADJUST: tl.constexpr):  # fmt: skip
    """The largest x such that the listed logits >= x reach `goal`, in number (COUNT) or else in unnormalised mass."""
    found = tl.full((), 0, tl.uint32)
    bit = tl.full((), 0x80000000, tl.uint32)
    if count <= STEP:  # the usual case: everything stays in registers
        keys, weights = _keys(values, changed, is_changed, scratch, 0, count, largest, temperature, vocabulary,
                              STEP, SUB, COUNT, ADJUST)  # fmt: skip
        for _ in range(32 - LOWEST_BIT):
            candidate = found | bit
            bit = bit >> 1
            reached = tl.sum(tl.where(keys >= candidate, weights, 0.0))
            found = tl.where((reached >= goal) & (reached > 0), candidate, found)
    else:
        for _ in range(32 - LOWEST_BIT):
            candidate = found | bit
            bit = bit >> 1
            reached = tl.full((), 0.0, tl.float64)
            for start in range(0, count, STEP):
                keys, weights = _keys(values, changed, is_changed, scratch, start, count, largest, temperature,
                                      vocabulary, STEP, SUB, COUNT, ADJUST)  # fmt: skip
                reached += tl.sum(tl.where(keys >= candidate, weights, 0.0))
            found = tl.where((reached >= goal) & (reached > 0), candidate, found)
    return from_ordered(found)


@triton.jit
def _keys(values, changed, is_changed, scratch, start, count, largest, temperature, vocabulary, STEP: tl.constexpr,
          SUB: tl.constexpr, COUNT: tl.constexpr, ADJUST: tl.constexpr):  # fmt: skip
    """Ordered bits of the next listed logits, and what each counts for in a search: 1 or its weight."""
    lanes, inside = _tile(scratch, start, count, vocabulary, STEP, SUB)
    block = read(values, changed, is_changed, lanes, inside, ADJUST)
    if COUNT:
        weights = tl.full((STEP, SUB), 1.0, tl.float64)
    else:
        weights = weigh(block, float("-inf"), largest, temperature)
    return ordered(block), tl.where(inside, weights, 0.0)


@triton.jit
def _kept_mass(values, changed, is_changed, scratch, count, threshold, largest, temperature, vocabulary,
               STEP: tl.constexpr, SUB: tl.constexpr, ADJUST: tl.constexpr):  # fmt: skip
    mass = tl.full((), 0.0, tl.float64)
    for start in range(0, count, STEP):
        lanes, inside = _tile(scratch, start, count, vocabulary, STEP, SUB)
        block = read(values, changed, is_changed, lanes, inside, ADJUST)
        mass += tl.sum(tl.where(inside, weigh(block, threshold, largest, temperature), 0.0))
    return mass


@triton.jit
def _draw_listed(values, changed, is_changed, scratch, count, goal, threshold, largest, temperature, vocabulary,
                 STEP: tl.constexpr, SUB: tl.constexpr, ADJUST: tl.constexpr):  # fmt: skip
    """Inverse of the cumulative distribution over the listed blocks, in the order of token ids."""
    token = tl.full((), -1, tl.int64)
    before = tl.full((), 0.0, tl.float64)
    for start in range(0, count, STEP):
        if before <= goal:  # else the token has been found
            lanes, inside = _tile(scratch, start, count, vocabulary, STEP, SUB)
            block = read(values, changed, is_changed, lanes, inside, ADJUST)
            weights = tl.where(inside, weigh(block, threshold, largest, temperature), 0.0)
            flat = tl.reshape(weights, [STEP * SUB])
            found, beyond = first_beyond(flat, tl.reshape(lanes, [STEP * SUB]), goal, before, -1)
            token = tl.where(found >= 0, found, token).to(tl.int64)
            before = tl.where(beyond, float("inf"), before + tl.sum(flat, axis=0))
    return token


@triton.jit
def _draw_chunked(values, changed, is_changed, masses, chunks, goal, largest, temperature, vocabulary,
                  CHUNKS: tl.constexpr, CHUNK: tl.constexpr, ADJUST: tl.constexpr):  # fmt: skip
    """The same over all tokens: the chunk from the chunks' masses, the token from that chunk alone."""
    chunk, _ = first_beyond(masses, chunks, goal, 0.0, 0)
    before = tl.sum(tl.where(chunks < chunk, masses, 0.0), axis=0)
    lanes = chunk * CHUNK + tl.arange(0, CHUNK)
    inside = lanes < vocabulary
    block = read(values, changed, is_changed, lanes, inside, ADJUST)
    weights = tl.where(inside, weigh(block, float("-inf"), largest, temperature), 0.0)
    token, _ = first_beyond(weights, lanes, goal, before, 0)
    return token.to(tl.int64)
