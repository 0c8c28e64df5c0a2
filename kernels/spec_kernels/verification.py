"""Fused verification for callers that hold requests, not tensors: one upload of everything, then three launches.

An engine that keeps its chains on the device calls `spec_kernels.fused.verify` itself. Specification of both:
`spec_kernels.reference`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
import triton

from spec_kernels.chains import SamplingBatch, Verification, VerifyOptions, adjusts_logits, check_shapes, has_penalty
from spec_kernels.fused import LOWEST_BIT, Launch, launch_kernel, verify
from spec_kernels.reference import as_list, merged
from spec_kernels.tables import Adjustments, ChainTables, Layout, SampledDrafts, Workspace


def verify_chains(
    logits: torch.Tensor,  # [R, V] bfloat16, float16 or float32; others are converted
    draft_tokens: torch.Tensor | Sequence[int],  # int64 [R - B]
    offsets: torch.Tensor | Sequence[int],  # int64 [B + 1]
    positions: torch.Tensor | Sequence[int],  # int64 [B] absolute position of the first token under test
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None = None,  # B x [drafts of the sequence, V or Vd] float32
    *,
    options: VerifyOptions | None = None,
    with_logprobs: bool = False,
    with_stats: bool = False,
    block: int = 8192,
    launch: Launch = launch_kernel,
) -> Verification:
    """As `spec_kernels.reference.verify_chains`; `block` vocabulary entries are read at a time (a power of two)."""
    options = merged(options, with_logprobs=with_logprobs, with_stats=with_stats)
    bounds, starts = as_list(offsets), as_list(positions)
    check_shapes(logits, len(draft_tokens), bounds, starts, sampling, options)
    if len(bounds) == 1:
        empty = torch.empty((0, 1), dtype=torch.int64, device=logits.device)
        return Verification(empty[:, 0], empty)
    values = logits if logits.dtype in LOWEST_BIT else logits.float()
    values = values if values.stride(-1) == 1 or values.shape[1] == 1 else values.contiguous()
    chunk = min(block, triton.next_power_of_2(logits.shape[1]))
    params = sampling.params
    samples = any(one.temperature > 0 for one in params)
    layout = Layout(
        num_rows=bounds[-1],
        batch=len(params),
        vocabulary=logits.shape[1],
        width=max(end - start for start, end in itertools.pairwise(bounds)),
        samples=samples,
        filters=samples and any(one.top_k > 0 or one.top_p < 1 or one.min_p > 0 for one in params),
        adjusts=options.masks is not None or any(map(adjusts_logits, params)),
        statistics=options.with_stats,
        logprobs=options.with_logprobs,
        chunk=chunk,
        sub=min(64, chunk),
    )
    tables = _upload(values, draft_tokens, bounds, starts, sampling, draft_probs, options, layout)
    space = Workspace.allocate(layout, logits.device)
    verify(values, tables, layout, space, launch=launch)
    result = Verification(space.num_accepted, space.tokens, space.logprobs if options.with_logprobs else None)
    if not options.with_stats:
        return result
    return Verification(
        space.num_accepted,
        space.tokens,
        result.logprobs,
        target_prob_of_draft=space.draft_stats[0],
        draft_prob=space.draft_stats[1],
        entropy=space.row_stats[0],
        margin=space.row_stats[1],
        source=space.draft_sources if options.sources is not None else None,
    )


def _upload(
    logits: torch.Tensor,
    drafts: torch.Tensor | Sequence[int],
    offsets: list[int],
    positions: list[int],
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None,
    options: VerifyOptions,
    layout: Layout,
) -> ChainTables:
    params = sampling.params
    whole = [end - start - 1 for start, end in itertools.pairwise(offsets)]
    cutoffs = whole if options.cutoffs is None else [int(cut) for cut in options.cutoffs]
    packer = _Packer()
    on_device = isinstance(drafts, torch.Tensor) and drafts.device == logits.device
    if not on_device:
        packer.add("drafts", as_list(drafts), np.int64)
    packer.add("offsets", offsets, np.int64)
    packer.add("cutoffs", cutoffs, np.int64)
    packer.add("positions", positions, np.int64)
    packer.add("seeds", [one.seed & (2**64 - 1) for one in params], np.uint64)
    packer.add("top_ks", [one.top_k for one in params], np.int64)
    packer.add("temperatures", [one.temperature for one in params], np.float64)
    packer.add("top_ps", [one.top_p for one in params], np.float64)
    least = [one.temperature * math.log(one.min_p) if one.min_p > 0 else -math.inf for one in params]
    packer.add("min_offsets", least, np.float64)
    if options.sources is not None:
        packer.add("sources", list(options.sources), np.int32)
    if layout.adjusts:
        _add_items(packer, drafts, offsets, sampling, options, layout)
    packed: list[torch.Tensor] = []
    first_rows, count = [], 0
    for one, probs in zip(params, draft_probs or [None] * len(params), strict=True):
        first_rows.append(count if probs is not None and one.temperature > 0 else -1)
        if probs is not None and one.temperature > 0:
            packed.append(probs.float())
            count += probs.shape[0]
    packer.add("first_rows", first_rows, np.int64)
    tensors = packer.upload(logits.device)
    adjustments = sampled = None
    if layout.adjusts:
        adjustments = Adjustments(
            is_adjusted=tensors["is_adjusted"],
            penalties=tensors["penalties"].view(3, -1),
            offsets=tensors["item_offsets"],
            tokens=tensors["item_tokens"],
            biases=tensors["item_biases"],
            counts=tensors["item_counts"],
            seen=tensors["item_seen"],
            masks=options.masks,
        )
    if count:
        probs = torch.cat(packed).contiguous()
        sampled = SampledDrafts(probs, tensors["first_rows"], options.draft_ids)
    return ChainTables(
        drafts=drafts.contiguous() if isinstance(drafts, torch.Tensor) and on_device else tensors["drafts"],
        offsets=tensors["offsets"],
        cutoffs=tensors["cutoffs"],
        positions=tensors["positions"],
        seeds=tensors["seeds"],
        top_ks=tensors["top_ks"],
        temperatures=tensors["temperatures"],
        top_ps=tensors["top_ps"],
        min_offsets=tensors["min_offsets"],
        sources=tensors.get("sources"),
        sampled=sampled,
        adjustments=adjustments,
    )


def _add_items(
    packer: _Packer,
    drafts: torch.Tensor | Sequence[int],
    offsets: list[int],
    sampling: SamplingBatch,
    options: VerifyOptions,
    layout: Layout,
) -> None:
    """The tokens whose logits change: `Adjustments`."""
    chunks, tokens, biases, counts, seen = [0], list[int](), list[float](), list[int](), list[int]()
    listed = as_list(drafts) if any(map(has_penalty, sampling.params)) else []
    for index, params in enumerate(sampling.params):
        count = Counter(sampling.outputs[index]) if has_penalty(params) else Counter[int]()
        prompt = set(sampling.prompts[index]) if params.repetition_penalty != 1 else set()
        mine = {*params.logit_bias, *count, *prompt}
        if has_penalty(params):
            mine.update(listed[offsets[index] - index : offsets[index + 1] - index - 1])
        ordered = sorted(token for token in mine if 0 <= token < layout.vocabulary)
        tokens += ordered
        biases += [params.logit_bias.get(token, 0.0) for token in ordered]
        counts += [count[token] for token in ordered]
        seen += [token in prompt or count[token] > 0 for token in ordered]
        borders = np.arange(1, layout.num_chunks + 1) * layout.chunk
        chunks += (chunks[-1] + np.searchsorted(ordered, borders)).tolist()
    flags = [options.masks is not None or adjusts_logits(one) for one in sampling.params]
    packer.add("is_adjusted", flags, np.int32)
    packer.add("item_offsets", chunks, np.int32)
    packer.add("item_tokens", tokens, np.int32)
    packer.add("item_biases", biases, np.float64)
    packer.add("item_counts", counts, np.int32)
    packer.add("item_seen", seen, np.int32)
    penalties = [
        [one.presence_penalty for one in sampling.params],
        [one.frequency_penalty for one in sampling.params],
        [one.repetition_penalty for one in sampling.params],
    ]
    packer.add("penalties", penalties, np.float64)


class _Packer:
    """Many small arrays as one buffer, so that they reach the device in one copy from pinned memory."""

    def __init__(self) -> None:
        self._parts: dict[str, np.ndarray] = {}

    def add(self, name: str, values: Sequence[object], dtype: type[np.generic]) -> None:
        self._parts[name] = np.asarray(values, dtype=dtype).reshape(-1)

    def upload(self, device: torch.device) -> dict[str, torch.Tensor]:
        """A view of the buffer on the device for each array; 16-byte aligned, never empty storage."""
        places, size = dict[str, int](), 16
        for name, part in self._parts.items():
            places[name] = size
            size += -(-part.nbytes // 16) * 16
        buffer = torch.zeros(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
        flat = buffer.numpy()
        for name, part in self._parts.items():
            flat[places[name] : places[name] + part.nbytes] = part.view(np.uint8)
        there = buffer.to(device, non_blocking=True)
        tensors = {}
        for name, part in self._parts.items():
            dtype = torch.int64 if part.dtype == np.uint64 else torch.from_numpy(part[:0]).dtype
            tensors[name] = there[places[name] : places[name] + part.nbytes].view(dtype)
        return tensors
