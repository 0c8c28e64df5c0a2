"""Fitting a tenant's delta: low-rank changes of the frozen static drafter, on the tenant's records."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dataplane.speculation.drafters.checkpoint import EagleCheckpoint
from dataplane.speculation.drafters.delta import DELTA_MODULES, TenantDelta
from dataplane.training.fit import (
    Evidence,
    acceptance_by_position,
    batches,
    bfloat16_where_fast,
    groups,
    unrolled_loss,
)
from dataplane.training.tables import TargetTables
from dataplane.training.unroll import Batch, Example

NUM_STEPS = 4
ANCHORS_PER_BATCH = 512
RATE = 4e-3
EPOCHS = 6
MIN_BATCHES = 80  # little traffic is seen more often
MAX_BATCHES = 240
REPLAY_EVERY = 5  # each fifth batch is generic text: against forgetting


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained delta and how it came about."""

    delta: TenantDelta
    loss_curve: tuple[float, ...]  # mean training loss of the tenant's batches, per epoch
    num_batches: int
    seconds: float


def new_low_rank(
    static: EagleCheckpoint, rank: int, seed: int, incumbent: TenantDelta | None = None
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Trainable factors: the incumbent's, if it has this rank, else a delta that changes nothing yet (B = 0)."""
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for module in DELTA_MODULES:
        out, inner = static.config.shapes()[f"{module}.weight"]
        down, up = torch.randn(rank, inner, generator=generator) / math.sqrt(inner), torch.zeros(out, rank)
        if incumbent is not None and incumbent.rank == rank:
            down, up = (factor.float().clone() for factor in incumbent.low_rank[module])
        factors[module] = (down.requires_grad_(), up.requires_grad_())
    return factors


def train_delta(
    static: EagleCheckpoint,
    target: TargetTables,
    examples: Sequence[Example],
    replay: Sequence[Example],
    *,
    rank: int,
    seed: int,
    deadline: float,
    incumbent: TenantDelta | None = None,
    report: Callable[[float, float], None] = lambda fraction, loss: None,
    clock: Callable[[], float] = time.monotonic,
) -> Fitted:
    """Minimise the cross-entropy to the target on `examples`, with a slice of `replay`; stops at `deadline` (clock).

    The number of batches depends on the data alone, so that equal inputs give equal deltas unless time runs out.
    """
    started = clock()
    config, hot_head = static.config, target.head[static.hot_tokens]
    parameters = _frozen(static, target)
    low_rank = new_low_rank(static, rank, seed, incumbent)
    factors = [factor for pair in low_rank.values() for factor in pair]
    optimizer = torch.optim.AdamW(factors, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    order = random.Random(seed)
    generic = list(batches(replay, ANCHORS_PER_BATCH, order, NUM_STEPS))
    epoch_length = len(groups(examples, ANCHORS_PER_BATCH))
    num_batches = max(MIN_BATCHES, min(EPOCHS * epoch_length, MAX_BATCHES)) if epoch_length else 0
    done = 0
    curve: list[float] = []
    while done < num_batches and clock() < deadline:
        losses = []
        for batch in batches(examples, ANCHORS_PER_BATCH, order, NUM_STEPS):
            if done >= num_batches or clock() >= deadline:
                break
            if generic and done % REPLAY_EVERY == REPLAY_EVERY - 1:
                _step(optimizer, factors, parameters, static, target, hot_head, generic[done % len(generic)], low_rank)
            scale = min(1.0, (done + 1) / 5) * max(0.05, min(1.0, 1.5 * (1 - done / num_batches)))
            for group in optimizer.param_groups:
                group["lr"] = RATE * scale
            losses.append(_step(optimizer, factors, parameters, static, target, hot_head, batch, low_rank))
            done += 1
            report(done / num_batches, losses[-1])
        if losses:
            curve.append(sum(losses) / len(losses))
    delta = TenantDelta(
        static.sha256,
        rank,
        {module: (down.detach(), up.detach()) for module, (down, up) in low_rank.items()},
        config.confidence_temperature,
    )
    return Fitted(delta, tuple(curve), done, clock() - started)


def judge(
    static: EagleCheckpoint, target: TargetTables, delta: TenantDelta | None, examples: Sequence[Example]
) -> tuple[float, Evidence]:
    """(expected acceptance length with NUM_STEPS drafts after the true tokens, evidence for calibration)."""
    parameters = _frozen(static, target)
    low_rank = None
    if delta is not None:
        low_rank = {module: (down.to(target.head), up.to(target.head)) for module, (down, up) in delta.low_rank.items()}
    shares, evidence = acceptance_by_position(
        parameters, static.config, target, static.hot_tokens, examples, NUM_STEPS, low_rank
    )
    return 1 + sum(shares), evidence


def _frozen(static: EagleCheckpoint, target: TargetTables) -> dict[str, torch.Tensor]:
    """The static drafter's weights in the type that training computes in."""
    return {name: value.to(target.head.dtype) for name, value in static.tensors.items() if value.is_floating_point()}


def _step(
    optimizer: torch.optim.Optimizer,
    factors: Sequence[torch.Tensor],
    parameters: dict[str, torch.Tensor],
    static: EagleCheckpoint,
    target: TargetTables,
    hot_head: torch.Tensor,
    batch: Batch,
    low_rank: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> float:
    optimizer.zero_grad(set_to_none=True)
    with bfloat16_where_fast(target):
        loss = unrolled_loss(parameters, static.config, target, hot_head, batch, low_rank)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(factors, 1.0)
    optimizer.step()
    return float(loss.detach())
