"""The Engine seam: what the server needs of whatever generates tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dataplane.engines.accounts import Goodput, StepTrace
from dataplane.speculation.types import SamplingParams, SpeculationPolicy

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One admitted request. All limits were checked by admission: prompt + max_tokens fits the context."""

    request_id: str
    project_id: str
    deployment_id: str
    cache_salt: str
    prompt_tokens: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationPolicy = field(default_factory=SpeculationPolicy)
    stop_token_ids: tuple[int, ...] = ()  # generation ends after one of these; it is emitted and not shown
    ignore_eos: bool = False
    num_logprobs: int | None = None  # None: none; 0: of the chosen token; n: and of the n likeliest
    trace: bool = False  # keep what every step was expected to bring, and why it was decided so
    speculator_version_id: str | None = None  # what the deployment should run; the registry knows what is loaded
    end_user_id: str = ""  # set: what the tenant memory learns is shared with this end user's requests only


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # (token id, log-probability), likeliest first


@dataclass(frozen=True, slots=True)
class SpeculationStats:
    """What speculation did for one request, so far."""

    mode: str = "off"
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    per_position_drafted: tuple[int, ...] = ()
    per_position_accepted: tuple[int, ...] = ()
    drafted_by_source: Mapping[str, int] = field(default_factory=dict)
    accepted_by_source: Mapping[str, int] = field(default_factory=dict)
    speculator_version_id: str | None = None  # the version that drafted
    draft_seconds: float = 0.0
    control_seconds: float = 0.0  # controller + memory
    target_seconds: float = 0.0
    decode_seconds: float = 0.0  # from the first token to the last
    relearning: bool = False
    goodput: Mapping[str, Goodput] = field(default_factory=dict)  # by source: predicted and realised
    trace: tuple[StepTrace, ...] = ()  # if the request asked for it


@dataclass(frozen=True, slots=True)
class GenerationChunk:
    """Tokens as they come, at least one per chunk except in the last, whose finish_reason is set."""

    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = 0  # prompt tokens that came from the prefix cache
    stats: SpeculationStats | None = None  # in the last chunk
    error: str | None = None  # with finish_reason "error"


@dataclass(frozen=True, slots=True)
class EngineStats:
    running: int
    waiting: int
    num_slots: int
    kv_used_tokens: int
    kv_capacity_tokens: int
    prefix_cache_hits: int
    prefix_cache_queries: int
    drafter_errors: int


class Engine(Protocol):
    """Generates tokens for many requests at once."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationChunk]:
        """Stream the request's tokens. Closing the iterator early aborts the request."""

    def abort(self, request_id: str) -> None:
        """End a request at the next step boundary; unknown ids are ignored."""

    def stats(self) -> EngineStats:
        """Gauges of this moment."""
