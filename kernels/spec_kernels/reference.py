"""Chain verification in plain PyTorch: the specification of the Triton kernels, and the CPU implementation.

Every emitted token has the target's distribution, whatever the drafter proposes (Leviathan et al., "Fast inference
from transformers via speculative decoding", 2023, appendix A.1; Chen et al., 2023):

* A deterministic draft token (no draft probabilities) is accepted iff it equals the target's own token at its
  position, which is drawn from (seed, position). This is the one-hot acceptance rule in distribution, and makes the
  output of a seed identical at any lookahead. Greedy decoding is the case where the target's token is the argmax.
* A sampled draft token is accepted iff u * draft < target (strict: a token that the target excludes stays excluded at
  u = 0), else the recovered token is drawn from max(target - draft, 0), normalised.

The target distribution: logits + logit bias - penalties, divided by the temperature, then top-k, top-p (of what
top-k left), min-p. Each filter is a threshold on the logit, and equal logits share their fate; so neither the order of
a sort nor the batch can change what is kept. Argmax takes the lowest of equal tokens.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from spec_kernels.chains import Sampling, SamplingBatch, Verification, additions, adjusts_logits, check_shapes
from spec_kernels.randomness import Purpose, uniform

# top-p looks for its threshold among this many largest logits before it sorts the whole row.
_NUCLEUS = 512


def verify_chains(
    logits: torch.Tensor,  # [R, V] float
    draft_tokens: torch.Tensor | Sequence[int],  # int64 [R - B]
    offsets: torch.Tensor | Sequence[int],  # int64 [B + 1]
    positions: torch.Tensor | Sequence[int],  # int64 [B] absolute position of the first token under test
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None = None,  # B x [drafts of the sequence, V] float32
    *,
    with_logprobs: bool = False,
    with_stats: bool = False,
) -> Verification:
    """Accept or reject each chain of draft tokens against the target's logits.

    `draft_probs[i]` None means a deterministic proposal. `with_logprobs` and `with_stats` fill the optional fields of
    the result. Raises ValueError if the shapes do not fit together.
    """
    drafts, bounds, starts = as_list(draft_tokens), as_list(offsets), as_list(positions)
    check_shapes(logits, len(drafts), bounds, starts, sampling)
    emitted = (
        _verify_greedy(logits, drafts, bounds)
        if sampling.greedy
        else _verify_general(logits, drafts, bounds, starts, sampling, draft_probs)
    )
    width = max((end - start for start, end in itertools.pairwise(bounds)), default=1)
    tokens = torch.tensor(
        [row + [-1] * (width - len(row)) for row in emitted], dtype=torch.int64, device=logits.device
    ).view(len(emitted), width)
    num_accepted = torch.tensor([len(row) - 1 for row in emitted], dtype=torch.int64, device=logits.device)
    return describe(
        Verification(num_accepted, tokens),
        logits,
        drafts,
        bounds,
        sampling,
        with_logprobs=with_logprobs,
        with_stats=with_stats,
    )


def target_probs(
    logits: torch.Tensor,  # [V]
    params: Sampling,
    counts: Counter[int] | None = None,  # how often each token was emitted
) -> torch.Tensor:  # float64 [V], sums to 1
    """The distribution that the client samples from; one-hot at temperature 0."""
    kept, weights = _kept_weights(_adjusted(logits, params, counts or Counter()), params)
    probs = torch.zeros(logits.shape[-1], dtype=torch.float64, device=logits.device)
    probs[kept] = weights / weights.sum()
    return probs


def describe(
    result: Verification,
    logits: torch.Tensor,
    drafts: Sequence[int],
    offsets: Sequence[int],
    sampling: SamplingBatch,
    *,
    with_logprobs: bool,
    with_stats: bool,
) -> Verification:
    """Fill the optional fields of `result`; shared by both implementations."""
    if not (with_logprobs or with_stats):
        return result
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    logprobs = target_prob_of_draft = entropy = margin = None
    if with_logprobs:
        steps = torch.arange(result.tokens.shape[1], device=logits.device)
        roots = torch.tensor(offsets[:-1], dtype=torch.int64, device=logits.device)
        valid = result.tokens >= 0
        rows = torch.where(valid, roots[:, None] + steps[None, :], 0)
        logprobs = torch.where(valid, log_probs[rows, result.tokens.clamp(min=0)], 0.0)
    if with_stats:
        probs = log_probs.exp()
        entropy = -(probs * log_probs.clamp(min=-1e30)).sum(dim=-1)
        top = probs.topk(min(2, probs.shape[-1]), dim=-1).values
        margin = top[:, 0] - top[:, 1] if top.shape[-1] == 2 else top[:, 0]
        target_prob_of_draft = _target_prob_of_draft(logits, drafts, offsets, sampling)
    return Verification(result.num_accepted, result.tokens, logprobs, target_prob_of_draft, entropy, margin)


def argmax_rows(logits: torch.Tensor) -> list[int]:
    """Index of the largest logit in each row, the lowest of equals.

    NumPy's argmax is vectorised: 18 microseconds for [8, 49152] in float32, where torch takes 230 on one CPU thread
    (1,400 in bfloat16). The bits of non-negative bfloat16 numbers order like int16, below which all negative ones lie.
    """
    if logits.device.type != "cpu":
        on_device: list[int] = logits.argmax(dim=-1).tolist()
        return on_device
    if logits.dtype is torch.bfloat16:
        bits = logits.view(torch.int16).numpy()
        best = bits.argmax(axis=-1)
        if len(best) == 0 or np.take_along_axis(bits, best[:, None], axis=-1).min() > 0:
            return [int(index) for index in best]
    values = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    return [int(index) for index in values.numpy().argmax(axis=-1)]


def as_list(values: torch.Tensor | Sequence[int]) -> list[int]:
    """Python integers, from a tensor of integers or a sequence."""
    if isinstance(values, torch.Tensor):
        integers: list[int] = values.tolist()
        return integers
    return list(values)


def _verify_greedy(logits: torch.Tensor, drafts: list[int], offsets: list[int]) -> list[list[int]]:
    best = argmax_rows(logits)
    emitted = []
    for index in range(len(offsets) - 1):
        row, stop = offsets[index], offsets[index + 1] - 1
        draft = row - index  # sequences before this one had one root each
        first = row
        while row < stop and best[row] == drafts[draft]:
            row, draft = row + 1, draft + 1
        emitted.append(best[first : row + 1])
    return emitted


def _verify_general(
    logits: torch.Tensor,
    drafts: list[int],
    offsets: list[int],
    positions: list[int],
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None,
) -> list[list[int]]:
    emitted = []
    for index, params in enumerate(sampling.params):
        first, stop = offsets[index], offsets[index + 1]
        chain = drafts[first - index : stop - 1 - index]
        probs = draft_probs[index] if draft_probs is not None else None
        emitted.append(
            _verify_chain(logits[first:stop], chain, positions[index], params, sampling.outputs[index], probs)
        )
    return emitted


def _verify_chain(
    logits: torch.Tensor,  # [1 + drafts, V]
    chain: list[int],
    position: int,
    params: Sampling,
    output: Sequence[int],
    draft_probs: torch.Tensor | None,  # [drafts, V] float32
) -> list[int]:
    counts = Counter(output) if params.presence_penalty or params.frequency_penalty else Counter[int]()
    tokens: list[int] = []
    for step in range(len(chain) + 1):
        row = _adjusted(logits[step], params, counts)
        sampled_draft = step < len(chain) and draft_probs is not None and params.temperature > 0
        if sampled_draft:
            assert draft_probs is not None
            token, accepted = _accept_or_recover(row, chain[step], draft_probs[step], position + step, params)
        else:
            token = _draw(*_kept_weights(row, params), uniform(params.seed, position + step, Purpose.TARGET))
            accepted = step < len(chain) and token == chain[step]
        tokens.append(token)
        if not accepted:
            break
        counts[token] += 1
    return tokens


def _accept_or_recover(
    row: torch.Tensor, draft: int, draft_probs: torch.Tensor, position: int, params: Sampling
) -> tuple[int, bool]:
    kept, weights = _kept_weights(row, params)
    target = torch.zeros(row.shape[0], dtype=torch.float64, device=row.device)
    target[kept] = weights / weights.sum()
    coin = uniform(params.seed, position, Purpose.ACCEPT)
    if 0 <= draft < row.shape[0] and coin * float(draft_probs[draft]) < float(target[draft]):
        return draft, True
    rest = (target - draft_probs.double()).clamp(min=0)
    if not bool(rest.any()):  # target <= draft everywhere: equal up to rounding
        rest = target
    positive = rest.nonzero().squeeze(-1)
    return _draw(positive, rest[positive], uniform(params.seed, position, Purpose.RECOVER)), False


def _adjusted(row: torch.Tensor, params: Sampling, counts: Counter[int]) -> torch.Tensor:
    """Logits plus bias minus penalties, float32 where anything is added."""
    if not adjusts_logits(params):
        return row
    added = additions(params, counts, row.shape[0])
    row = row.float().clone()
    if added:
        ids = torch.tensor(list(added), device=row.device)
        row[ids] += torch.tensor(list(added.values()), dtype=torch.float32, device=row.device)
    return row


def _kept_weights(row: torch.Tensor, params: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids that survive the filters, ascending, and their unnormalised probabilities (float64)."""
    if params.temperature == 0:
        return torch.tensor(argmax_rows(row[None]), device=row.device), torch.ones(
            1, dtype=torch.float64, device=row.device
        )
    row = row.float()
    largest = float(row.max())
    threshold = -math.inf
    if 0 < params.top_k < row.shape[0]:
        threshold = float(row.topk(params.top_k).values[-1])
    if params.top_p < 1:
        threshold = max(threshold, _nucleus_threshold(row, largest, threshold, params))
    if params.min_p > 0:
        threshold = max(threshold, largest + params.temperature * math.log(params.min_p))
    threshold = min(threshold, largest)
    if threshold == -math.inf:
        return torch.arange(row.shape[0], device=row.device), _weights(row, largest, params.temperature)
    kept = (row >= threshold).nonzero().squeeze(-1)
    return kept, _weights(row[kept], largest, params.temperature)


def _nucleus_threshold(row: torch.Tensor, largest: float, floor: float, params: Sampling) -> float:
    """The largest logit x such that the tokens of logit >= x have at least top_p of the mass above `floor`."""
    weights = _weights(row, largest, params.temperature)
    goal = params.top_p * float(weights[row >= floor].sum())
    for size in sorted({min(_NUCLEUS, row.shape[0]), min(16 * _NUCLEUS, row.shape[0]), row.shape[0]}):
        values = row.topk(size).values
        mass = _weights(values, largest, params.temperature).cumsum(dim=0)
        if float(mass[-1]) >= goal:
            return float(values[int(torch.searchsorted(mass, goal))])
    return floor  # rounding alone kept the mass below the goal


def _weights(values: torch.Tensor, largest: float, temperature: float) -> torch.Tensor:
    return ((values - largest) / temperature).exp().double()


def _draw(tokens: torch.Tensor, weights: torch.Tensor, coin: float) -> int:
    """Inverse of the cumulative distribution, in the order of `tokens`."""
    mass = weights.cumsum(dim=0)
    total = float(mass[-1])
    goal = min(coin * total, math.nextafter(total, 0.0))  # the product may round up to the total
    return int(tokens[int(torch.searchsorted(mass, goal, right=True))])


def _target_prob_of_draft(
    logits: torch.Tensor, drafts: Sequence[int], offsets: Sequence[int], sampling: SamplingBatch
) -> torch.Tensor:
    probs = []
    for index, params in enumerate(sampling.params):
        counts = Counter(sampling.outputs[index])
        for row in range(offsets[index], offsets[index + 1] - 1):
            draft = drafts[row - index]
            if not 0 <= draft < logits.shape[1]:
                probs.append(0.0)
                continue
            adjusted = _adjusted(logits[row], params, counts)
            if params.temperature == 0:
                probs.append(float(torch.softmax(adjusted.float(), dim=-1)[draft]))
            else:
                kept, weights = _kept_weights(adjusted, params)
                here = weights[kept == draft]
                probs.append(float(here.sum() / weights.sum()))
            counts[draft] += 1
    return torch.tensor(probs, dtype=torch.float32, device=logits.device)
