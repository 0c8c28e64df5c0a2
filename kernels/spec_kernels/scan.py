"""First launch of verification: the one full read of the logits, in chunks, so that few rows fill a GPU too.

    logits [R, V] --one program per row and chunk--> what later launches need, so that they read little more

Of each chunk: the largest logit, where it is, and the mass beside it, after bias, penalties and masks; the softmax's
mass, mean logit and second largest before them. With filters, the largest logit of each block of SUB tokens: whatever
threshold a filter ends at, only blocks whose largest logit reaches it hold a token that stays. Chunks depend on the
vocabulary alone: a row's sums have the same order in any batch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

from spec_kernels.primitives import chain_of

# Rows of `partials` [6, R, S], float32.
PEAK, MASS, RAW_PEAK, RAW_SECOND, RAW_MASS, RAW_MEAN = (tl.constexpr(i) for i in range(6))


@triton.jit(do_not_specialize=["num_rows", "batch", "num_chunks", "num_peaks"])  # they change, the binary doesn't
def scan_kernel(
    logits,  # [R, V]
    stride,
    drafts,  # int64 [R - B]
    offsets,  # int64 [B + 1]
    cutoffs,  # int64 [B]
    temperatures,  # float64 [B]
    is_adjusted,  # int32 [B] has the sequence anything that changes its logits?
    penalties,  # float64 [3, B] presence, frequency, repetition
    item_offsets,  # int32 [B * S + 1] items of chunk c of sequence i from i * S + c on
    item_tokens,  # int32 [items] tokens whose logit changes, or may after drafts
    item_biases,  # float64 [items]
    item_counts,  # int32 [items] how often the output has it
    item_seen,  # int32 [items] is it in prompt or output?
    masks,  # int32 [R, words] bit t % 32 of word t / 32: is token t allowed?
    mask_words,  # words of a row of `masks`; 0: there are none
    adjusted,  # out float32 [R, V] of adjusted sequences
    partials,  # out float32 [6, R, S]
    places,  # out int32 [R, S] token of the largest logit
    peaks,  # out float32 [R, V / SUB]
    num_rows,
    batch,
    vocabulary,
    num_chunks,  # S
    num_peaks,
    BATCH: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    SUB: tl.constexpr,
    ADJUST: tl.constexpr,
    FILTER: tl.constexpr,
    STATS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    sequence, step, length, _ = chain_of(row, offsets, cutoffs, batch, BATCH)
    if (sequence < batch) & (step <= length):
        lanes = chunk * CHUNK + tl.arange(0, CHUNK)
        inside = lanes < vocabulary
        raw = tl.load(logits + row * stride + lanes, mask=inside, other=float("-inf")).to(tl.float32)
        values = raw
        if ADJUST:
            if tl.load(is_adjusted + sequence) != 0:
                presence = tl.load(penalties + sequence)
                frequency = tl.load(penalties + batch + sequence)
                repetition = tl.load(penalties + 2 * batch + sequence).to(tl.float32)
                steps = tl.arange(0, WIDTH)
                first = tl.load(offsets + sequence) - sequence
                before = tl.load(drafts + first + steps, mask=steps < step, other=-1)
                place = sequence * num_chunks + chunk
                for item in range(tl.load(item_offsets + place), tl.load(item_offsets + place + 1)):
                    token = tl.load(item_tokens + item)
                    drafted = tl.sum((before == token).to(tl.int32), axis=0)
                    count = tl.load(item_counts + item) + drafted
                    here = lanes == token
                    if (tl.load(item_seen + item) != 0) | (drafted > 0):
                        repeated = tl.where(values > 0, values / repetition, values * repetition)
                        values = tl.where(here, repeated, values)
                    change = tl.load(item_biases + item)
                    if count > 0:
                        change = change - presence - frequency * count.to(tl.float64)
                    values = tl.where(here, values + change.to(tl.float32), values)
                if mask_words > 0:
                    word = lanes // 32
                    bits = tl.load(masks + row * mask_words + word, mask=inside & (word < mask_words), other=0)
                    values = tl.where(((bits >> (lanes % 32)) & 1) != 0, values, float("-inf"))
                tl.store(adjusted + row * vocabulary + lanes, values, mask=inside)
        out = partials + row * num_chunks + chunk
        plane = num_rows.to(tl.int64) * num_chunks
        peak = tl.max(values, axis=0)
        base = tl.where(peak == float("-inf"), 0.0, peak)
        temperature = tl.load(temperatures + sequence).to(tl.float32)
        temperature = tl.where(temperature > 0, temperature, 1.0)
        mass = tl.sum(tl.exp((values - base) / temperature), axis=0)
        tl.store(out + PEAK * plane, peak)
        tl.store(out + MASS * plane, mass)
        place = tl.min(tl.where((values == peak) & inside, lanes, 0x7FFFFFFF), axis=0)
        tl.store(places + row * num_chunks + chunk, place)
        if FILTER:
            largest = tl.max(tl.reshape(values, [CHUNK // SUB, SUB]), axis=1)
            blocks = chunk * (CHUNK // SUB) + tl.arange(0, CHUNK // SUB)
            tl.store(peaks + row * num_peaks + blocks, largest, mask=blocks < num_peaks)
        if STATS:
            raw_peak = peak
            raw_place = place
            if ADJUST:
                raw_peak = tl.max(raw, axis=0)
                raw_place = tl.min(tl.where((raw == raw_peak) & inside, lanes, 0x7FFFFFFF), axis=0)
            raw_base = tl.where(raw_peak == float("-inf"), 0.0, raw_peak)
            shifted = raw - raw_base
            weights = tl.exp(shifted)
            tl.store(out + RAW_PEAK * plane, raw_peak)
            second = tl.max(tl.where(lanes == raw_place, float("-inf"), raw), axis=0)
            tl.store(out + RAW_SECOND * plane, second)
            tl.store(out + RAW_MASS * plane, tl.sum(weights, axis=0))
            tl.store(out + RAW_MEAN * plane, tl.sum(tl.where(weights > 0, shifted, 0.0) * weights, axis=0))
