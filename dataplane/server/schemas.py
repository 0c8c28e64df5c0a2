"""Request bodies of the OpenAI-compatible API: JSON in, a validated frozen value or an InvalidRequest out.

Strict on purpose: a field that this service doesn't know or doesn't support is refused by name, never ignored, because
a client that believes in a parameter that does nothing is worse off than one that gets an error.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import pydantic_core
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dataplane.errors import InvalidRequest
from dataplane.speculation.types import SamplingParams

# Fields of OpenAI's API that mean something this service doesn't do: refused unless null.
# fmt: off
_UNSUPPORTED = frozenset((
    "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "audio", "modalities",
    "prediction", "reasoning_effort", "web_search_options", "verbosity", "service_tier", "metadata", "suffix",
    "best_of", "prompt_cache_key",
))
# fmt: on
_MAX_SEED = (1 << 63) - 1
_MIN_TEMPERATURE = 1e-5

# A prompt of the completions API: text, or token ids.
Prompt = str | tuple[int, ...]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _content_text(content: object) -> object:
    """A message's content as one string: a string, or OpenAI's list of text parts."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise ValueError("only parts of type text are supported")
        if not isinstance(part.get("text"), str) or set(part) != {"type", "text"}:
            raise ValueError("a text part has exactly the fields type and text, which are strings")
        texts.append(part["text"])
    return "".join(texts)


def _as_list(value: object) -> object:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _as_prompts(value: object) -> object:
    """The four forms of `prompt` as a tuple of prompts."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(type(item) is int for item in value):
            return (tuple(value),)
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        if all(isinstance(item, list) and item and all(type(token) is int for token in item) for item in value):
            return tuple(tuple(item) for item in value)
    raise ValueError("must be a string, a list of strings, a list of token ids, or a list of lists of token ids")


class Message(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_content_text)]
    name: str | None = None
    # Clients send a response's message back as it came: these fields are there, and null.
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    annotations: None = None

    def to_template(self) -> dict[str, str]:
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class StreamOptions(_Body):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ResponseFormat(_Body):
    type: Literal["text"]


class Speculation(_Body):
    """The request's own wish: it can only lower what the endpoint does."""

    mode: Literal["off", "static", "adaptive"] | None = None
    max_lookahead: int | None = Field(default=None, ge=0, le=64)
    trace: bool | None = None  # tell every step in the response's metrics; changes nothing else


class _Request(_Body):
    model: str = Field(min_length=1, max_length=256)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1 << 30)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    top_k: int | None = Field(default=None, ge=-1, le=1 << 30)
    min_p: float | None = Field(default=None, ge=0.0, le=1.0)
    seed: int | None = Field(default=None, ge=-_MAX_SEED - 1, le=_MAX_SEED)
    presence_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    frequency_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    logit_bias: dict[str, Annotated[float, Field(ge=-100.0, le=100.0)]] | None = Field(default=None, max_length=1024)
    n: int | None = Field(default=None, ge=1, le=16)
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...],
        Field(max_length=16),
        BeforeValidator(_as_list),
    ] = ()
    stop_token_ids: Annotated[
        tuple[Annotated[int, Field(ge=0, le=1 << 30)], ...], Field(max_length=64), BeforeValidator(_as_list)
    ] = ()
    ignore_eos: bool | None = None
    user: str | None = Field(default=None, max_length=1024)
    safety_identifier: str | None = Field(default=None, max_length=1024)
    store: bool | None = None
    speculation: Speculation | None = None

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> _Request:
        if self.stream_options is not None and not self.stream:
            raise _field_error("stream_options", "is only allowed when stream is true")
        return self

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def end_user(self) -> str:
        """Whom the client says that it asks for; "" if it doesn't say."""
        return self.safety_identifier or self.user or ""

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def num_logprobs(self) -> int | None:
        """As GenerationRequest.num_logprobs."""
        raise AssertionError("each request form says what its logprobs mean")

    def sampling(self, vocab_size: int) -> SamplingParams:
        """The sampling parameters of the first choice; without a seed, a fresh random one."""
        seed = secrets.randbits(63) if self.seed is None else self.seed & _MAX_SEED
        return SamplingParams(
            temperature=_sensible(1.0 if self.temperature is None else self.temperature),
            top_k=max(self.top_k or 0, 0),
            top_p=1.0 if self.top_p is None else self.top_p,
            min_p=self.min_p or 0.0,
            seed=seed,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=self._token_biases(vocab_size),
        )

    def _token_biases(self, vocab_size: int) -> dict[int, float]:
        biases = {}
        for token, bias in (self.logit_bias or {}).items():
            if not (token.isascii() and token.isdigit() and len(token) < 10 and int(token) < vocab_size):
                raise InvalidRequest(f"logit_bias: {token[:40]!r} is not a token id", param="logit_bias")
            biases[int(token)] = bias
        return biases


class ChatRequest(_Request):
    messages: tuple[Message, ...] = Field(min_length=1, max_length=4096, strict=False)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1 << 30)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise _field_error("top_logprobs", "is only allowed when logprobs is true")
        return self

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(_Request):
    prompt: Annotated[tuple[Any, ...], Field(min_length=1, max_length=64), BeforeValidator(_as_prompts)]
    echo: Literal[False] | None = None
    logprobs: int | None = Field(default=None, ge=0, le=5)

    @property
    def prompts(self) -> Sequence[Prompt]:
        return self.prompt

    @property
    def max_output_tokens(self) -> int | None:
        return 16 if self.max_tokens is None else self.max_tokens

    @property
    def num_logprobs(self) -> int | None:
        return self.logprobs


Request = TypeVar("Request", bound=_Request)


def parse_request(cls: type[Request], body: bytes) -> Request:
    """Read and validate a body. Raises InvalidRequest, which names the first offending field."""
    try:
        data = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(data, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    for name in sorted(_UNSUPPORTED.intersection(data)):
        if data[name] is not None and name not in cls.model_fields:
            raise InvalidRequest(f"{name} is not supported by this service.", param=name, code="unsupported_parameter")
    known = {name: value for name, value in data.items() if name not in _UNSUPPORTED}
    try:
        return cls.model_validate(known)
    except ValidationError as error:
        raise _invalid(error) from None


def _sensible(temperature: float) -> float:
    """Next to nothing is greedy decoding, as in vLLM: a logit divided by it has no floating-point value."""
    return temperature if temperature >= _MIN_TEMPERATURE else 0.0


def _field_error(field: str, problem: str) -> pydantic_core.PydanticCustomError:
    return pydantic_core.PydanticCustomError("field", "{problem}", {"field": field, "problem": problem})


def _invalid(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False, include_input=False)[0]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    param = (param or str(first.get("ctx", {}).get("field", "")))[:200]
    if first["type"] == "extra_forbidden":
        return InvalidRequest(f"Unknown field: {param}.", param=param, code="unknown_parameter")
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return InvalidRequest(f"{param}: {first['msg']}.", param=param, code=code)
