"""A request of SGLang's scheduler, as speculation sees it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from dataplane.engines.base import GenerationRequest, TokenLogprob
from dataplane.engines.tally import Tally
from dataplane.speculation.types import SamplingParams, SpeculationPolicy, StepOutcome, memory_scope

log = logging.getLogger(__name__)

PARAMS_KEY = "slipstream"


class SchedulerRequest(Protocol):
    """What we read of SGLang's `Req`."""

    rid: str
    origin_input_ids: Any  # the prompt, token ids
    output_ids: Any  # what the scheduler has taken over, token ids
    sampling_params: Any
    eos_token_ids: Any  # the model's end tokens

    def finished(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class RequestParams:
    """What our server says of a request, beside what SGLang knows. Clients can't write it: they never reach SGLang."""

    project_id: str = ""
    deployment_id: str = ""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationPolicy = field(default_factory=lambda: SpeculationPolicy(mode="off", max_lookahead=0))
    num_logprobs: int | None = None
    end_user_id: str = ""
    ignore_eos: bool = False  # the model's own end tokens don't end it; stop tokens do
    trace: bool = False

    @classmethod
    def of(cls, request: GenerationRequest) -> RequestParams:
        return cls(
            request.project_id,
            request.deployment_id,
            request.sampling,
            request.speculation,
            request.num_logprobs,
            request.end_user_id,
            request.ignore_eos,
            request.trace,
        )

    def to_custom_params(self) -> dict[str, Any]:
        """For `sampling_params.custom_params`, as JSON values."""
        data = asdict(self)
        data["sampling"]["logit_bias"] = [list(item) for item in self.sampling.logit_bias.items()]
        return {PARAMS_KEY: data}

    @classmethod
    def from_custom_params(cls, params: object) -> RequestParams:
        """SGLang's own requests (its warm-up, its health check) carry nothing: greedy, no speculation, no project."""
        data = params.get(PARAMS_KEY) if isinstance(params, Mapping) else None
        if data is None:
            return cls()
        sampling = dict(data["sampling"])
        sampling["logit_bias"] = {int(token): float(bias) for token, bias in sampling["logit_bias"]}
        return cls(
            data["project_id"],
            data["deployment_id"],
            SamplingParams(**sampling),
            SpeculationPolicy(**data["speculation"]),
            data["num_logprobs"],
            data["end_user_id"],
            data["ignore_eos"],
            data["trace"],
        )


@dataclass(slots=True, eq=False)
class SglSequence:
    """Satisfies `speculation.types.SequenceView`. `slot` is ours: SGLang's row of the request may change."""

    request: SchedulerRequest
    params: RequestParams
    max_lookahead: int  # what one verification of this node holds
    slot: int = -1  # -1: it does not decode (yet, or any more)
    is_begun: bool = False  # its prompt is being read, or was
    num_extended: int = 0  # positions that the neural drafter has got in this slot
    tokens: list[int] = field(default_factory=list)
    speculation: SpeculationPolicy = field(init=False)
    tally: Tally = field(init=False)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def __post_init__(self) -> None:
        limit = min(self.params.speculation.max_lookahead, self.max_lookahead)
        self.speculation = replace(self.params.speculation, max_lookahead=limit)
        self.tokens = list(self.request.origin_input_ids)
        self.tally = Tally(traced=self.params.trace)

    @property
    def project_id(self) -> str:
        return self.params.project_id

    @property
    def deployment_id(self) -> str:
        return self.params.deployment_id

    @property
    def memory_scope(self) -> str:
        return memory_scope(self.params.project_id, self.params.end_user_id)

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.origin_input_ids)

    @property
    def sampling(self) -> SamplingParams:
        return self.params.sampling

    @property
    def num_logprobs(self) -> int | None:
        return self.params.num_logprobs

    @property
    def num_remaining(self) -> int:
        limit: int = self.request.sampling_params.max_new_tokens
        return limit - (len(self.tokens) - self.num_prompt_tokens)

    def catch_up(self) -> None:
        """Take over what the scheduler has: it may have cut what a step emitted, at a stop token."""
        known = len(self.tokens) - self.num_prompt_tokens
        output = self.request.output_ids
        if known > len(output):
            del self.tokens[self.num_prompt_tokens + len(output) :]
        else:
            self.tokens.extend(output[known:])

    def forget(self) -> None:
        """The consent is gone: the tenant memory must not learn from this request."""
        self.speculation = replace(self.speculation, remember=False)

    def keep_logprobs(self, outcome: StepOutcome) -> None:
        tops = outcome.top_logprobs or ((),) * len(outcome.new_tokens)
        self.logprobs.extend(map(TokenLogprob, outcome.new_tokens, outcome.logprobs, tops))
