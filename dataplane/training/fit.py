"""Fitting the static drafter to the corpus: initialisation, loss, optimiser, schedule, held-out metrics."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from dataplane.speculation.drafters.checkpoint import EagleConfig
from dataplane.training.corpus import read_shard, shard_paths
from dataplane.training.tables import TargetTables
from dataplane.training.unroll import Batch, Example, collate, draft_logits, unroll

STEP_DISCOUNT = 0.8  # weight of each later draft step in the loss
ANCHORS_PER_BATCH = 1024
SHARDS_AT_ONCE = 4
LOSS_BLOCK = 64
PROMPT_ANCHORS = 128
MAX_CALIBRATION_ROWS = 2000
MAX_EVIDENCE = 12  # batches and steps whose logits are kept for calibration

# Draft logits [M, Vd] of some positions, and whether their argmax was the target's choice [M].
Evidence = list[tuple[torch.Tensor, torch.Tensor]]


def hot_vocabulary(
    folder: Path, prompts: Iterable[Sequence[int]], size: int, target_vocab_size: int
) -> tuple[torch.Tensor, float]:
    """The `size` most frequent tokens, sorted ascending, and the share of generated tokens that they cover.

    Generated tokens of the shards in `folder` count 4 times as much as tokens of `prompts`, which are less alike what
    is drafted but many more; ties go to the lower id. Source of the idea: FR-Spec, Zhao et al. 2025 (arXiv 2502.14856).
    """
    generated = torch.zeros(target_vocab_size, dtype=torch.int64)
    counts = torch.zeros(target_vocab_size, dtype=torch.int64)
    for path in shard_paths(folder):
        for example in read_shard(path):
            generated += torch.bincount(example.tokens[example.num_prompt_tokens :], minlength=target_vocab_size)
    for prompt in prompts:
        counts += torch.bincount(torch.tensor(prompt, dtype=torch.int64), minlength=target_vocab_size)
    order = torch.argsort(counts + 4 * generated, descending=True, stable=True)[:size]
    return order.sort().values, float(generated[order].sum() / generated.sum())


def vocabulary_coverage(folder: Path, vocabularies: Sequence[torch.Tensor]) -> list[float]:
    """The share of the shards' generated tokens that lie in each vocabulary (target ids)."""
    generated = torch.cat(
        [example.tokens[example.num_prompt_tokens :] for path in shard_paths(folder) for example in read_shard(path)]
    )
    return [float(torch.isin(generated, vocabulary).float().mean()) for vocabulary in vocabularies]


def initial_parameters(
    config: EagleConfig, target: TargetTables, hot: torch.Tensor, seed: int
) -> dict[str, torch.Tensor]:
    """Start as the target's own last layer reading its deepest feature, with its head: close to what is wanted."""
    generator = torch.Generator().manual_seed(seed)
    hidden = config.hidden_size
    parameters = {}
    for name, shape in config.shapes().items():
        if name in ("d2t", "t2d"):
            continue
        if len(shape) == 1:
            parameters[name] = torch.ones(shape)
        else:
            parameters[name] = torch.randn(shape, generator=generator) * 0.5 / math.sqrt(shape[1])
    for name, weight in target.last_layer.items():
        weight = weight.float()
        own = f"midlayer.{name}.weight"
        if name == "input_layernorm":
            parameters["midlayer.hidden_norm.weight"] = weight.clone()
        elif own in parameters and parameters[own].shape == weight.shape:
            parameters[own] = weight.clone()
        elif own in parameters:  # q, k, v: the half that reads the hidden state
            parameters[own][:, hidden:] = weight
    parameters["fc.weight"] *= 0.2
    parameters["fc.weight"][:, -hidden:] += torch.eye(hidden)
    parameters["norm.weight"] = target.final_norm.float() * 0.5  # flatter at first: it is often surely wrong
    parameters["lm_head.weight"] = target.head[hot].float().clone()
    return parameters


def bfloat16_where_fast(target: TargetTables, *, shared: bool = False) -> torch.autocast:
    """Mixed precision over float32 parameters if the tables are bfloat16; else everything is float32 already.

    `shared`: several threads compute at once; what one has cast (a node of its graph) is then not handed to another.
    """
    bfloat16 = target.head.dtype == torch.bfloat16
    return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16, cache_enabled=not shared)


class SoftCrossEntropy(torch.autograd.Function):
    """Sum over rows of the cross-entropy between `wanted` and softmax(logits), a block of rows at a time.

    The gradient is made in the forward pass, while the block is in the cache: one read of the logits instead of seven.
    """

    @staticmethod
    def forward(context: Any, logits: torch.Tensor, wanted: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """logits [M, V]; wanted [K, V] distributions; rows int64 [M]: which of them each row should match."""
        gradient = torch.empty_like(logits)
        total = 0.0
        for start in range(0, len(logits), LOSS_BLOCK):
            block = slice(start, start + LOSS_BLOCK)
            log_draft = logits[block].float().log_softmax(-1)
            target = wanted[rows[block]].float()
            total -= float(torch.dot(target.view(-1), log_draft.view(-1)))
            gradient[block] = log_draft.exp_().sub_(target)
        context.save_for_backward(gradient)
        return logits.new_tensor(total, dtype=torch.float32)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Scale the prepared gradient."""
        (gradient,) = context.saved_tensors
        return gradient * gradients[0].to(gradient.dtype), None, None


def unrolled_loss(
    parameters: Mapping[str, torch.Tensor],
    config: EagleConfig,
    target: TargetTables,
    hot_head: torch.Tensor,  # [Vd, H]
    batch: Batch,
    low_rank: Mapping[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> torch.Tensor:
    """Cross-entropy to the target's distribution over the hot vocabulary, discounted over draft steps, per anchor."""
    outputs = unroll(parameters, config, target.embeddings, batch, low_rank)
    needed, inverse = _final_rows(batch, list(batch.valid.unbind(-1)))
    with torch.no_grad():
        finals = batch.finals.flatten(0, 1)[needed]
        wanted = torch.cat(
            [
                functional.linear(block.to(hot_head.dtype), hot_head).float().softmax(-1).to(batch.finals.dtype)
                for block in torch.split(finals, LOSS_BLOCK)
            ]
        )
    total, weights = outputs[0].new_zeros(()), 0.0
    for step, output in enumerate(outputs):
        chosen = output[batch.valid[:, :, step]]
        logits = draft_logits(parameters, chosen, low_rank)
        loss: torch.Tensor = SoftCrossEntropy.apply(logits, wanted, inverse[step])  # type: ignore[no-untyped-call]
        total = total + STEP_DISCOUNT**step * loss / max(len(chosen), 1)
        weights += STEP_DISCOUNT**step
    return total / weights


@torch.no_grad()
def acceptance_by_position(
    parameters: Mapping[str, torch.Tensor],
    config: EagleConfig,
    target: TargetTables,
    hot: torch.Tensor,
    examples: Sequence[Example],
    num_steps: int,
    low_rank: Mapping[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> tuple[list[float], Evidence]:
    """Share of anchors whose first j + 1 greedy drafts are all the target's greedy tokens, for each step j.

    Their sum + 1 is the expected acceptance length of a chain of `num_steps`. Also returns evidence for calibration:
    of the first batches and steps, the anchors whose earlier drafts were right.
    """
    alive_total, counted = [0.0] * num_steps, [0] * num_steps
    evidence: Evidence = []
    for group in batches(examples, ANCHORS_PER_BATCH, random.Random(0), num_steps):
        outputs = unroll(parameters, config, target.embeddings, group, low_rank)
        alive, valid = torch.ones(group.anchors.shape, dtype=torch.bool), group.valid.all(-1)
        needed, inverse = _final_rows(group, [valid] * num_steps)
        finals = group.finals.flatten(0, 1)[needed].to(target.head.dtype)
        choices = functional.linear(finals, target.head).argmax(-1)
        for step, output in enumerate(outputs):
            right = torch.zeros_like(alive)
            logits = draft_logits(parameters, output[valid], low_rank)
            right[valid] = hot[logits.argmax(-1)] == choices[inverse[step]]
            if len(evidence) < MAX_EVIDENCE:
                evidence.append((logits[alive[valid]].float(), right[valid & alive]))
            alive = alive & right
            alive_total[step] += float(alive[valid].sum())
            counted[step] += int(valid.sum())
    return [total / max(count, 1) for total, count in zip(alive_total, counted, strict=True)], evidence


def calibrated_temperature(evidence: Evidence) -> float:
    """The temperature under which the maximal probability predicts best (log-loss) whether the argmax is right.

    Source: temperature scaling, Guo et al. 2017 (arXiv 1706.04599), for the top label.
    """
    logits = torch.cat([logits for logits, _ in evidence])[:MAX_CALIBRATION_ROWS]
    right = torch.cat([right for _, right in evidence])[:MAX_CALIBRATION_ROWS].float()

    def log_loss(temperature: float) -> float:
        confidence = (logits / temperature).softmax(-1).amax(-1).clamp(1e-4, 1 - 1e-4)
        return float(functional.binary_cross_entropy(confidence, right))

    coarse = min(torch.linspace(0.5, 2.5, 9).tolist(), key=log_loss)
    return min(torch.linspace(coarse - 0.2, coarse + 0.2, 9).tolist(), key=log_loss) if len(right) else 1.0


def calibration_error(evidence: Evidence, temperature: float, num_bins: int = 15) -> float:
    """Expected calibration error: |confidence - accuracy| over bins of equal width, weighted by their counts.

    Source: Guo et al. 2017 (arXiv 1706.04599), section 2.
    """
    confidence = torch.cat([(logits / temperature).softmax(-1).amax(-1) for logits, _ in evidence])
    right = torch.cat([right for _, right in evidence]).float()
    bins = (confidence * num_bins).long().clamp_max(num_bins - 1)
    gaps = torch.zeros(num_bins).index_add_(0, bins, confidence - right)
    return float(gaps.abs().sum() / max(len(right), 1))


def groups(examples: Sequence[Example], anchors_per_batch: int) -> list[list[Example]]:
    """Examples of similar length together, about `anchors_per_batch` anchors in each group."""
    usable = [example for example in examples if len(example.features) - example.num_prompt_tokens >= 1]
    usable.sort(key=lambda one: ((len(one.tokens) - one.num_prompt_tokens) // 16, len(one.tokens)))
    found: list[list[Example]] = []
    room = 0
    for example in usable:
        if room <= 0:
            found.append([])
            room = anchors_per_batch
        found[-1].append(example)
        room -= len(example.features) - example.num_prompt_tokens
    return found


def batches(
    examples: Sequence[Example], anchors_per_batch: int, order: random.Random, num_steps: int
) -> Iterator[Batch]:
    """Every group once as a batch, in random order."""
    found = groups(examples, anchors_per_batch)
    order.shuffle(found)
    for group in found:
        yield collate(group, num_steps)


def shuffled_examples(corpus: Path, heldout: Sequence[str], order: random.Random) -> Iterator[list[Example]]:
    """Examples of a few shards at a time, in random order, for ever; shards that appear meanwhile join the round."""
    seen: set[Path] = set()
    while True:
        paths = [path for path in shard_paths(corpus) if path.name not in heldout]
        waiting = [path for path in paths if path not in seen]
        if not waiting:
            seen.clear()
            waiting = paths
        chosen = order.sample(waiting, min(SHARDS_AT_ONCE, len(waiting)))
        seen.update(chosen)
        yield [_longer(example, order) for path in chosen for example in read_shard(path)]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to fit; the learning rate decays over `max_seconds`, by default of wall time, so a busy machine finishes."""

    max_seconds: float
    num_steps: int = 3
    rate: float = 1.5e-3
    warmup_batches: int = 20
    average: float = 0.99  # decay of the running average of the weights, which is what is judged and kept
    checkpoint_seconds: float = 400.0
    seed: int = 0
    heldout: tuple[str, ...] = ()  # names of shards that are never trained on
    clock: Callable[[], float] = time.monotonic  # of `max_seconds`; processor time makes runs comparable
    batches_at_once: int = 1  # each in a thread of its own; their mean gradient makes one update


@dataclass
class FitState:
    """What a resumed fit continues from."""

    parameters: dict[str, torch.Tensor]
    averaged: dict[str, torch.Tensor]
    optimizer: torch.optim.Optimizer
    seconds: float = 0.0
    num_batches: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)


def fit(
    state: FitState,
    config: EagleConfig,
    target: TargetTables,
    hot: torch.Tensor,
    corpus: Path,
    out: Path,
    options: FitOptions,
) -> None:
    """Train `state` in place until `options.max_seconds`; writes `state.pt` and `curve.json` into `out` as it goes."""
    order = random.Random(options.seed + state.num_batches)
    hot_head = target.head[hot]
    heldout = [example for path in shard_paths(corpus) if path.name in options.heldout for example in read_shard(path)]
    judged = [example for example in heldout if example.temperature == 0][::10]
    started, saved, shown = options.clock() - state.seconds, state.seconds, 0.0
    smooth = float("nan")
    pool = ThreadPoolExecutor(options.batches_at_once)

    def loss_of(batch: Batch) -> torch.Tensor:
        with bfloat16_where_fast(target, shared=options.batches_at_once > 1):
            return unrolled_loss(state.parameters, config, target, hot_head, batch)

    for examples in shuffled_examples(corpus, options.heldout, order):
        waiting = batches(examples, ANCHORS_PER_BATCH, order, options.num_steps)
        while several := list(itertools.islice(waiting, options.batches_at_once)):
            state.seconds = options.clock() - started
            scale = min(1.0, (state.num_batches + 1) / options.warmup_batches)
            scale *= max(0.02, min(1.0, 1.6 * (1 - state.seconds / options.max_seconds)))
            for group in state.optimizer.param_groups:
                group["lr"] = options.rate * scale
            value = set_mean_gradients(list(state.parameters.values()), loss_of, several, pool)
            torch.nn.utils.clip_grad_norm_(list(state.parameters.values()), 1.0)
            state.optimizer.step()
            state.num_batches += 1
            decay = min(options.average, state.num_batches / (state.num_batches + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(state.averaged.values()), list(state.parameters.values()), 1 - decay)
            smooth = value if math.isnan(smooth) else 0.95 * smooth + 0.05 * value
            finished = state.seconds >= options.max_seconds
            if state.seconds - shown > 20:
                shown = state.seconds
                print(f"{state.seconds:6.0f} s  batch {state.num_batches}  loss {smooth:.3f}", flush=True)
            if finished or state.seconds - saved > options.checkpoint_seconds:
                saved = state.seconds
                with bfloat16_where_fast(target):
                    shares = acceptance_by_position(state.averaged, config, target, hot, judged, 4)[0]
                point = {"seconds": state.seconds, "loss": smooth, "acceptance_length": 1 + sum(shares)}
                state.curve.append({**point, **{f"position_{i}": share for i, share in enumerate(shares)}})
                print(
                    "held-out " + "  ".join(f"{key} {value:.3f}" for key, value in state.curve[-1].items()), flush=True
                )
                save_state(state, out)
            if finished:
                return


def set_mean_gradients(
    parameters: Sequence[torch.Tensor],
    loss_of: Callable[[Batch], torch.Tensor],
    several: Sequence[Batch],
    pool: Executor,
) -> float:
    """Set each parameter's gradient to the mean over the batches, which the pool's threads share; the mean loss."""

    def gradients(batch: Batch) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = loss_of(batch)
        return float(loss.detach()), torch.autograd.grad(loss, parameters)

    losses, found = zip(*pool.map(gradients, several), strict=True)
    for parameter, *parts in zip(parameters, *found, strict=True):
        parameter.grad = sum(parts[1:], parts[0]) / len(parts)
    return float(sum(losses) / len(losses))


def new_state(parameters: Mapping[str, torch.Tensor], options: FitOptions, saved: Path | None = None) -> FitState:
    """A fresh state, or the one that `save_state` wrote."""
    trained = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    state = FitState(trained, {name: value.detach().clone() for name, value in trained.items()}, optimizer)
    if saved is not None and saved.exists():
        content = torch.load(saved, weights_only=True)
        with torch.no_grad():
            for name, value in trained.items():
                value.copy_(content["parameters"][name])
        state.averaged = content["averaged"]
        optimizer.load_state_dict(content["optimizer"])
        state.seconds, state.num_batches, state.curve = content["seconds"], content["num_batches"], content["curve"]
    return state


def save_state(state: FitState, out: Path) -> None:
    """Write everything a resumed fit needs, atomically, and the learning curve."""
    content = {
        "parameters": {name: value.detach() for name, value in state.parameters.items()},
        "averaged": state.averaged,
        "optimizer": state.optimizer.state_dict(),
        "seconds": state.seconds,
        "num_batches": state.num_batches,
        "curve": state.curve,
    }
    torch.save(content, out / "state.pt.partial")
    os.replace(out / "state.pt.partial", out / "state.pt")
    (out / "curve.json").write_text(json.dumps(state.curve, indent=1), encoding="utf-8")


def _final_rows(batch: Batch, valid: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Rows of `batch.finals` (flattened) that the valid anchors of any step imitate, and each step's places in them.

    Neighbouring anchors imitate the same rows at different steps: the target's head is applied once to each.
    """
    first = torch.arange(len(batch.finals))[:, None] * batch.finals.shape[1] + batch.anchors + 1
    rows = [(first + step)[chosen] for step, chosen in enumerate(valid)]
    needed, inverse = torch.unique(torch.cat(rows), return_inverse=True)
    return needed, list(torch.split(inverse, [len(one) for one in rows]))


def _longer(example: Example, order: random.Random) -> Example:
    """For half of the examples, learn on the end of the prompt as well: text that the target knows how to continue."""
    if order.random() < 0.5:
        return example
    return replace(example, num_prompt_tokens=max(1, example.num_prompt_tokens - PROMPT_ANCHORS))
