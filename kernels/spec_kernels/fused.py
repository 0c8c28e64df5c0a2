"""Fused verification straight from the logits: three launches, however many sequences, filters and sources.

    scan (row, chunk)  ->  decide (row)  ->  walk (sequence)

`verify` reads its tables on the device only. It neither waits for the device nor copies to or from the host, and all
launches depend on the layout alone, so that a CUDA graph can hold it. Specification: `spec_kernels.reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton

from spec_kernels.decide import decide_kernel
from spec_kernels.scan import scan_kernel
from spec_kernels.tables import ChainTables, Layout, Workspace
from spec_kernels.walk import walk_kernel

# Bits of a float32 that came from a narrower type are zero below this one: the search need not look at them.
LOWEST_BIT = {torch.bfloat16: 16, torch.float16: 13, torch.float32: 0}
STEP = 32  # listed blocks per read

Launch = Callable[..., None]


def launch_kernel(kernel: Any, grid: tuple[int, ...], *arguments: object, num_warps: int, **constants: object) -> None:
    """Every launch of the package goes through a function like this one; tests count them with another."""
    kernel[grid](*arguments, num_warps=num_warps, **constants)


def verify(
    logits: torch.Tensor,  # [R, V] bfloat16, float16 or float32, rows contiguous
    tables: ChainTables,
    layout: Layout,
    workspace: Workspace,
    *,
    launch: Launch = launch_kernel,
) -> None:
    """Judge the chains; the results are left in `workspace`. Raises ValueError if logits and layout don't match."""
    check_logits(logits, layout)
    batch = max(triton.next_power_of_2(layout.batch), 1)
    width = triton.next_power_of_2(layout.width)
    chunks = triton.next_power_of_2(layout.num_chunks)
    chunk, sub = layout.chunk, min(layout.sub, layout.chunk)
    filters = layout.filters and layout.samples
    described = layout.statistics or layout.logprobs
    some = tables.drafts  # a pointer that stands in for what isn't there, and isn't read
    changes, sampled = tables.adjustments if layout.adjusts else None, tables.sampled
    is_adjusted = some if changes is None else changes.is_adjusted
    masks = None if changes is None else changes.masks
    probs, first_probs, draft_ids, draft_width = some, some, some, 0
    if sampled is not None and layout.samples:
        probs, first_probs, draft_width = sampled.probs, sampled.first_rows, sampled.probs.shape[1]
        draft_ids = some if sampled.draft_ids is None else sampled.draft_ids
    has_probs = sampled is not None and layout.samples
    mapped = sampled is not None and sampled.draft_ids is not None
    launch(
        scan_kernel,
        (layout.num_rows, layout.num_chunks),
        logits,
        logits.stride(0),
        tables.drafts,
        tables.offsets,
        tables.cutoffs,
        tables.temperatures,
        is_adjusted,
        *(
            (some,) * 6
            if changes is None
            else (changes.penalties, changes.offsets, changes.tokens, changes.biases, changes.counts, changes.seen)
        ),
        some if masks is None else masks,
        0 if masks is None else masks.shape[1],
        workspace.adjusted,
        workspace.partials,
        workspace.places,
        workspace.peaks,
        layout.num_rows,
        layout.batch,
        layout.vocabulary,
        layout.num_chunks,
        layout.num_peaks,
        BATCH=batch,
        WIDTH=width,
        CHUNK=chunk,
        SUB=sub,
        ADJUST=changes is not None,
        FILTER=filters,
        STATS=described,
        num_warps=8,
    )
    launch(
        decide_kernel,
        (layout.num_rows,),
        logits,
        logits.stride(0),
        workspace.adjusted,
        is_adjusted,
        workspace.partials,
        workspace.places,
        workspace.peaks,
        tables.drafts,
        tables.offsets,
        tables.cutoffs,
        tables.positions,
        tables.seeds,
        tables.top_ks,
        tables.temperatures,
        tables.top_ps,
        tables.min_offsets,
        probs,
        draft_width,
        first_probs,
        draft_ids,
        some if tables.sources is None else tables.sources,
        workspace.blocks,
        workspace.row_token,
        workspace.row_accepted,
        workspace.row_bounds,
        workspace.row_total,
        workspace.draft_stats,
        workspace.draft_sources,
        workspace.row_stats,
        layout.num_rows,
        layout.batch,
        layout.vocabulary,
        layout.num_chunks,
        layout.num_peaks,
        BATCH=batch,
        CHUNKS=chunks,
        PEAKS=triton.next_power_of_2(layout.num_peaks),
        CHUNK=chunk,
        STEP=STEP,
        SUB=sub,
        LOWEST_BIT=0 if changes is not None else LOWEST_BIT[logits.dtype],
        ADJUST=changes is not None,
        FILTER=filters,
        SAMPLE=layout.samples,
        PROBS=has_probs,
        MAPPED=mapped,
        SOURCES=tables.sources is not None,
        STATS=described,
        num_warps=8,
    )
    launch(
        walk_kernel,
        (layout.batch,),
        logits,
        logits.stride(0),
        workspace.adjusted,
        is_adjusted,
        workspace.partials,
        tables.offsets,
        tables.cutoffs,
        tables.positions,
        tables.seeds,
        tables.temperatures,
        probs,
        draft_width,
        first_probs,
        draft_ids,
        workspace.row_token,
        workspace.row_accepted,
        workspace.row_bounds,
        workspace.row_total,
        workspace.residuals,
        workspace.tokens,
        workspace.num_accepted,
        workspace.logprobs,
        layout.num_rows,
        layout.vocabulary,
        layout.num_chunks,
        layout.width,
        WIDTH=width,
        CHUNKS=chunks,
        CHUNK=chunk,
        ADJUST=changes is not None,
        PROBS=has_probs,
        MAPPED=mapped,
        LOGPROBS=layout.logprobs,
        num_warps=8 if has_probs else 1,
    )


def check_logits(logits: torch.Tensor, layout: Layout) -> None:
    """Raises ValueError, which names what does not fit."""
    if tuple(logits.shape) != (layout.num_rows, layout.vocabulary):
        raise ValueError(f"logits: expected [{layout.num_rows}, {layout.vocabulary}], got {list(logits.shape)}")
    if logits.dtype not in LOWEST_BIT:
        raise ValueError(f"logits: {logits.dtype} is not supported")
    if layout.vocabulary > 1 and logits.stride(1) != 1:
        raise ValueError("logits: the vocabulary must be contiguous")
    if layout.chunk & (layout.chunk - 1) or layout.sub & (layout.sub - 1):
        raise ValueError(f"layout: chunk {layout.chunk} and sub {layout.sub} must be powers of two")
