"""Chain verification in plain PyTorch: the specification of the Triton kernels, and the CPU implementation.

Every emitted token has the target's distribution, whatever the drafter proposes (Leviathan et al., "Fast inference
from transformers via speculative decoding", 2023, appendix A.1; Chen et al., 2023):

* A deterministic draft token (no draft probabilities) is accepted iff it equals the target's own token at its
  position, which is drawn from (seed, position). This is the one-hot acceptance rule in distribution, and makes the
  output of a seed identical at any lookahead. Greedy decoding is the case where the target's token is the argmax.
* A sampled draft token is accepted iff u * draft < target (strict: a token that the target excludes stays excluded at
  u = 0), else the recovered token is drawn from max(target - draft, 0), normalised.

The target distribution is `spec_kernels.distribution`'s. Argmax takes the lowest of equal tokens.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from spec_kernels.chains import Sampling, SamplingBatch, Verification, VerifyOptions, adjusts_logits, check_shapes
from spec_kernels.distribution import adjusted, argmax_rows, draw, kept_weights
from spec_kernels.randomness import Purpose, uniform


def verify_chains(
    logits: torch.Tensor,  # [R, V] float
    draft_tokens: torch.Tensor | Sequence[int],  # int64 [R - B]
    offsets: torch.Tensor | Sequence[int],  # int64 [B + 1]
    positions: torch.Tensor | Sequence[int],  # int64 [B] absolute position of the first token under test
    sampling: SamplingBatch,
    draft_probs: Sequence[torch.Tensor | None] | None = None,  # B x [drafts of the sequence, V or Vd] float32
    *,
    options: VerifyOptions | None = None,
    with_logprobs: bool = False,
    with_stats: bool = False,
) -> Verification:
    """Accept or reject each chain of draft tokens against the target's logits.

    `draft_probs[i]` None means a deterministic proposal. `with_logprobs` and `with_stats` (or those of `options`) fill
    the optional fields of the result. Raises ValueError if the shapes do not fit together.
    """
    drafts, bounds, starts = as_list(draft_tokens), as_list(offsets), as_list(positions)
    options = merged(options, with_logprobs=with_logprobs, with_stats=with_stats)
    check_shapes(logits, len(drafts), bounds, starts, sampling, options)
    chains = [
        _Chain(
            logits[first:stop],
            drafts[first - index : stop - 1 - index],
            starts[index],
            sampling.params[index],
            sampling.outputs[index],
            sampling.prompts[index],
            None if draft_probs is None else draft_probs[index],
            None if options.masks is None else options.masks[first:stop],
            options.draft_ids,
            stop - 1 - first if options.cutoffs is None else options.cutoffs[index],
        )
        for index, (first, stop) in enumerate(itertools.pairwise(bounds))
    ]
    if sampling.greedy and options.masks is None and options.cutoffs is None:
        emitted = verify_greedy(argmax_rows(logits), drafts, bounds)
    else:
        emitted = [chain.verify() for chain in chains]
    width = max((end - start for start, end in itertools.pairwise(bounds)), default=1)
    tokens = torch.tensor(
        [row + [-1] * (width - len(row)) for row in emitted], dtype=torch.int64, device=logits.device
    ).view(len(emitted), width)
    num_accepted = torch.tensor([len(row) - 1 for row in emitted], dtype=torch.int64, device=logits.device)
    result = Verification(num_accepted, tokens)
    if options.with_logprobs or options.with_stats:
        result = _describe(result, logits, bounds, chains, options)
    return result


def as_list(values: torch.Tensor | Sequence[int]) -> list[int]:
    """Python integers, from a tensor of integers or a sequence."""
    if isinstance(values, torch.Tensor):
        integers: list[int] = values.tolist()
        return integers
    return list(values)


def merged(options: VerifyOptions | None, *, with_logprobs: bool, with_stats: bool) -> VerifyOptions:
    """The options, with what the short forms of the arguments ask for."""
    options = options or VerifyOptions()
    if not (with_logprobs or with_stats):
        return options
    return replace(
        options,
        with_logprobs=with_logprobs or options.with_logprobs,
        with_stats=with_stats or options.with_stats,
    )


class _Chain:
    """One sequence's rows, its draft tokens, and everything that decides about them."""

    def __init__(
        self,
        logits: torch.Tensor,  # [1 + drafts, V]
        drafts: list[int],
        position: int,
        params: Sampling,
        output: Sequence[int],
        prompt: Sequence[int],
        draft_probs: torch.Tensor | None,  # [drafts, V or Vd] float32
        masks: torch.Tensor | None,  # int32 [1 + drafts, words]
        draft_ids: torch.Tensor | None,  # int32 [V]
        cutoff: int,
    ) -> None:
        self.logits, self.drafts, self.position, self.params = logits, drafts, position, params
        self.output, self.prompt = output, set(prompt) if params.repetition_penalty != 1 else set()
        self.draft_probs, self.masks, self.draft_ids = draft_probs, masks, draft_ids
        self.length = min(len(drafts), cutoff)

    def verify(self) -> list[int]:
        """Accepted tokens, then the recovered or bonus token."""
        counts, tokens = self._counts(), list[int]()
        for step in range(self.length + 1):
            row = self._row(step, counts)
            if step < self.length and self._is_sampled():
                token, accepted = self._accept_or_recover(row, step)
            else:
                coin = uniform(self.params.seed, self.position + step, Purpose.TARGET)
                token = draw(*kept_weights(row, self.params), coin)
                accepted = step < self.length and token == self.drafts[step]
            tokens.append(token)
            if not accepted:
                break
            counts[token] += 1
        return tokens

    def probabilities(self) -> list[tuple[float, float]]:
        """The target's and the drafter's probability of each draft token; 0 beyond the cut-off."""
        counts, probs = self._counts(), list[tuple[float, float]]()
        for step, draft in enumerate(self.drafts):
            if step >= self.length:
                probs.append((0.0, 0.0))
                continue
            target = 0.0
            if 0 <= draft < self.logits.shape[1]:
                row = self._row(step, counts)
                if self.params.temperature == 0:
                    target = float(torch.softmax(row.float(), dim=-1)[draft])
                else:
                    kept, weights = kept_weights(row, self.params)
                    target = float(weights[kept == draft].sum() / weights.sum())
            probs.append((target, self._draft_prob(step)))
            counts[draft] += 1
        return probs

    def _counts(self) -> Counter[int]:
        return Counter(self.output) if adjusts_logits(self.params) else Counter()

    def _row(self, step: int, counts: Counter[int]) -> torch.Tensor:
        mask = None if self.masks is None else self.masks[step]
        return adjusted(self.logits[step], self.params, counts, self.prompt, mask)

    def _is_sampled(self) -> bool:
        return self.draft_probs is not None and self.params.temperature > 0

    def _draft_prob(self, step: int) -> float:
        if self.draft_probs is None or not self._is_sampled():
            return 1.0
        draft = self.drafts[step]
        if not 0 <= draft < self.logits.shape[1]:
            return 0.0
        return float(self._spread(step)[draft])

    def _spread(self, step: int) -> torch.Tensor:
        """Draft probabilities over the target's vocabulary, float64 [V]; 0 for what the drafter can't draft."""
        assert self.draft_probs is not None
        probs = self.draft_probs[step].double()
        if self.draft_ids is None:
            return probs
        return torch.where(self.draft_ids >= 0, probs[self.draft_ids.long().clamp(min=0)], 0.0)

    def _accept_or_recover(self, row: torch.Tensor, step: int) -> tuple[int, bool]:
        kept, weights = kept_weights(row, self.params)
        target = torch.zeros(row.shape[0], dtype=torch.float64, device=row.device)
        target[kept] = weights / weights.sum()
        draft, seed, position = self.drafts[step], self.params.seed, self.position + step
        proposed = self._spread(step)
        coin = uniform(seed, position, Purpose.ACCEPT)
        if 0 <= draft < row.shape[0] and coin * float(proposed[draft]) < float(target[draft]):
            return draft, True
        rest = (target - proposed).clamp(min=0)
        if not bool(rest.any()):  # target <= draft everywhere: equal up to rounding
            rest = target
        positive = rest.nonzero().squeeze(-1)
        return draw(positive, rest[positive], uniform(seed, position, Purpose.RECOVER)), False


def verify_greedy(best: Sequence[int], drafts: Sequence[int], offsets: Sequence[int]) -> list[list[int]]:
    """What each chain emits at temperature 0, from the argmax of each row [R]: accepted tokens, then the recovered or
    bonus token."""
    emitted = []
    for index in range(len(offsets) - 1):
        row, stop = offsets[index], offsets[index + 1] - 1
        draft = row - index  # sequences before this one had one root each
        first = row
        while row < stop and best[row] == drafts[draft]:
            row, draft = row + 1, draft + 1
        emitted.append(list(best[first : row + 1]))
    return emitted


def _describe(
    result: Verification,
    logits: torch.Tensor,
    offsets: Sequence[int],
    chains: Sequence[_Chain],
    options: VerifyOptions,
) -> Verification:
    """Fill the optional fields of `result`."""
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    if options.with_logprobs:
        steps = torch.arange(result.tokens.shape[1], device=logits.device)
        roots = torch.tensor(offsets[:-1], dtype=torch.int64, device=logits.device)
        valid = result.tokens >= 0
        rows = torch.where(valid, roots[:, None] + steps[None, :], 0)
        logprobs = torch.where(valid, log_probs[rows, result.tokens.clamp(min=0)], 0.0)
        result = replace(result, logprobs=logprobs)
    if not options.with_stats:
        return result
    probs = log_probs.exp()
    top = probs.topk(min(2, probs.shape[-1]), dim=-1).values
    pairs = [pair for chain in chains for pair in chain.probabilities()]
    both = torch.tensor(pairs, dtype=torch.float32, device=logits.device).view(-1, 2)
    live = torch.tensor(
        [step <= chain.length for chain in chains for step in range(len(chain.drafts) + 1)], device=logits.device
    )
    entropy = -(probs * log_probs.clamp(min=-1e30)).sum(dim=-1)
    margin = top[:, 0] - top[:, 1] if top.shape[-1] == 2 else top[:, 0]
    source = None
    if options.sources is not None:
        tested = [step < chain.length for chain in chains for step in range(len(chain.drafts))]
        given = [one if here else -1 for one, here in zip(options.sources, tested, strict=True)]
        source = torch.tensor(given, dtype=torch.int32, device=logits.device)
    return replace(
        result,
        target_prob_of_draft=both[:, 0],
        draft_prob=both[:, 1],
        entropy=torch.where(live, entropy, 0.0),
        margin=torch.where(live, margin, 0.0),
        source=source,
    )
