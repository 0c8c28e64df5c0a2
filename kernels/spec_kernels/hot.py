"""The likeliest draft tokens of every row and how sure the drafter is, in one pass over its head's logits.

A drafter asks at each position for the best of its hot vocabulary, its probability, and what the controller calibrates
on: entropy and margin. The softmax runs beside the search, nothing of the vocabulary's size is written.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from spec_kernels.fused import Launch, launch_kernel

MAX_CHOICES = 16


@dataclass(frozen=True, slots=True)
class HotChoices:
    """The k likeliest tokens of n rows, likeliest first, the lowest id of equals first."""

    tokens: torch.Tensor  # int64 [n, k] target ids
    probs: torch.Tensor  # float32 [n, k]
    entropy: torch.Tensor  # float32 [n], nats
    margin: torch.Tensor  # float32 [n], likeliest minus second likeliest probability


def choose_hot(
    logits: torch.Tensor,  # [n, Vd] bfloat16, float16 or float32, rows contiguous
    temperatures: torch.Tensor,  # float32 [n] the drafter's calibration, above 0
    hot_tokens: torch.Tensor | None = None,  # int64 [Vd] target id of each draft id; None: they are the same
    *,
    count: int = 1,
    block: int = 4096,
    launch: Launch = launch_kernel,
) -> HotChoices:
    """The `count` likeliest tokens of softmax(logits / temperature), in one launch. Raises ValueError."""
    rows, vocabulary = _check(logits, count)
    device, wanted = logits.device, max(count, min(2, vocabulary))  # the margin needs two
    tokens = torch.empty((rows, wanted), dtype=torch.int64, device=device)
    probs = torch.empty((rows, wanted), dtype=torch.float32, device=device)
    entropy, margin = torch.empty((2, rows), dtype=torch.float32, device=device)
    block = min(block, triton.next_power_of_2(vocabulary))
    parts = -(-vocabulary // block)
    found = torch.empty((rows, parts * wanted), dtype=torch.int32, device=device)
    if rows:
        launch(
            choose_kernel,
            (rows,),
            logits,
            logits.stride(0),
            temperatures,
            tokens if hot_tokens is None else hot_tokens,
            found,
            tokens,
            probs,
            entropy,
            margin,
            vocabulary,
            parts,
            BLOCK=block,
            FOUND=triton.next_power_of_2(parts * wanted),
            COUNT=wanted,
            MAPPED=hot_tokens is not None,
            num_warps=8,
        )
    return HotChoices(tokens[:, :count], probs[:, :count], entropy, margin)


def choose_hot_reference(
    logits: torch.Tensor,  # [n, Vd]
    temperatures: torch.Tensor,  # float32 [n]
    hot_tokens: torch.Tensor | None = None,  # int64 [Vd]
    *,
    count: int = 1,
) -> HotChoices:
    """The specification of `choose_hot`."""
    _check(logits, count)
    log_probs = torch.log_softmax(logits.float() / temperatures[:, None], dim=-1)
    probs = log_probs.exp()
    order = logits.float().sort(dim=-1, descending=True, stable=True).indices
    chosen = order[:, :count]
    best = probs.gather(1, order[:, :2])
    margin = best[:, 0] - best[:, 1] if best.shape[1] == 2 else best[:, 0]
    entropy = -(probs * log_probs.clamp(min=-1e30)).sum(-1)
    tokens = chosen if hot_tokens is None else hot_tokens[chosen]
    return HotChoices(tokens, probs.gather(1, chosen), entropy, margin)


def _check(logits: torch.Tensor, count: int) -> tuple[int, int]:
    if logits.ndim != 2 or (logits.shape[1] > 1 and logits.stride(1) != 1):
        raise ValueError(f"logits must be [n, Vd] with contiguous rows, got {list(logits.shape)}")
    rows, vocabulary = logits.shape
    if not 1 <= count <= min(MAX_CHOICES, vocabulary):
        raise ValueError(f"{count} choices of {vocabulary}: between 1 and {MAX_CHOICES} are possible")
    return rows, vocabulary


@triton.jit(do_not_specialize=["parts"])
def choose_kernel(
    logits,  # [n, Vd]
    stride,
    temperatures,  # float32 [n]
    hot_tokens,  # int64 [Vd]; read if MAPPED
    found,  # scratch int32 [n, parts * COUNT] the best of each block
    tokens,  # out int64 [n, COUNT]
    probs,  # out float32 [n, COUNT]
    entropy,  # out float32 [n]
    margin,  # out float32 [n]
    vocabulary,
    parts,
    BLOCK: tl.constexpr,
    FOUND: tl.constexpr,
    COUNT: tl.constexpr,
    MAPPED: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    temperature = tl.load(temperatures + row).to(tl.float32)
    values = logits + row * stride
    largest = tl.full((), float("-inf"), tl.float32)
    mass = tl.full((), 0.0, tl.float32)
    mean = tl.full((), 0.0, tl.float32)  # of the shifted logits, times the mass
    scratch = found + row * parts * COUNT
    for part in range(parts):
        lanes = part * BLOCK + tl.arange(0, BLOCK)
        block = tl.load(values + lanes, mask=lanes < vocabulary, other=float("-inf")).to(tl.float32)
        before = largest
        largest = tl.maximum(largest, tl.max(block, axis=0))
        base = tl.where(largest == float("-inf"), 0.0, largest)
        shifted = (block - base) / temperature
        weights = tl.exp(shifted)
        shift = tl.where(mass > 0, (before - base) / temperature, 0.0)
        mean = (mean + shift * mass) * tl.exp(shift) + tl.sum(tl.where(weights > 0, shifted, 0.0) * weights, axis=0)
        mass = mass * tl.exp(shift) + tl.sum(weights, axis=0)
        left = lanes < vocabulary
        for choice in tl.static_range(COUNT):
            best = tl.max(tl.where(left, block, float("-inf")), axis=0)
            first = tl.min(tl.where(left & (block == best), lanes, 0x7FFFFFFF), axis=0)
            tl.store(scratch + part * COUNT + choice, first)
            left = left & (lanes != first)
    tl.debug_barrier()
    slots = tl.arange(0, FOUND)
    ids = tl.load(scratch + slots, mask=slots < parts * COUNT, other=0x7FFFFFFF)
    left = ids < vocabulary
    rest = tl.load(values + ids, mask=left, other=float("-inf")).to(tl.float32)
    second = tl.full((), 0.0, tl.float32)
    for choice in tl.static_range(COUNT):
        best = tl.max(tl.where(left, rest, float("-inf")), axis=0)
        first = tl.min(tl.where(left & (rest == best), ids, 0x7FFFFFFF), axis=0)
        left = left & (ids != first)
        prob = tl.exp((best - largest) / temperature) / mass
        token = first.to(tl.int64)
        if MAPPED:
            token = tl.load(hot_tokens + first)
        tl.store(tokens + row * COUNT + choice, token)
        tl.store(probs + row * COUNT + choice, prob)
        if choice == 1:
            second = prob
    tl.store(entropy + row, tl.log(mass) - mean / mass)
    tl.store(margin + row, 1.0 / mass - second)
