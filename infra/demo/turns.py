"""One request through the inference API with the official client, and what it measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import openai

from infra.demo.errors import DemoError
from infra.demo.workloads import Message

Mode = str  # "off", "static" or "adaptive"


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished request. `at` and `seconds` are the client's clock; the rest is what the response says."""

    mode: Mode
    at: float  # seconds since the demo began, when the answer was complete
    seconds: float  # whole request
    text: str
    completion_tokens: int
    decode_seconds: float  # from the first token to the last
    steps: int
    drafted: int
    accepted: int
    drafted_by_source: dict[str, int]
    speculator_version: str | None

    @property
    def tokens_per_second(self) -> float:
        """What the client sees: all tokens by the time of the whole request."""
        return self.completion_tokens / self.seconds

    @property
    def acceptance_length(self) -> float:
        """Tokens per step, the recovered or bonus token included."""
        return 1 + self.accepted / self.steps if self.steps else 1.0


class Tenant:
    """A tenant's client: one key, one endpoint."""

    def __init__(self, *, inference_url: str, api_key: str, endpoint: str, max_tokens: int, began: float) -> None:
        self._client = openai.OpenAI(base_url=inference_url, api_key=api_key, max_retries=0, timeout=300.0)
        self._endpoint = endpoint
        self._max_tokens = max_tokens
        self._began = began

    def ask(self, messages: list[Message], mode: Mode, *, store: bool, max_tokens: int | None = None) -> Turn:
        """One greedy request. `store` False: it is neither logged nor remembered. Raises DemoError."""
        started = time.monotonic()
        try:
            answer = self._client.chat.completions.create(
                model=self._endpoint,
                messages=messages,  # type: ignore[arg-type]
                temperature=0.0,
                max_tokens=max_tokens or self._max_tokens,
                store=store,
                extra_body={"speculation": {"mode": mode}},
            )
        except openai.OpenAIError as error:
            raise DemoError(f"{self._endpoint}: {error}") from error
        finished = time.monotonic()
        metrics: dict[str, Any] = (answer.model_extra or {})["metrics"]["speculative_decoding"]
        assert answer.usage is not None
        return Turn(
            mode=mode,
            at=finished - self._began,
            seconds=finished - started,
            text=answer.choices[0].message.content or "",
            completion_tokens=answer.usage.completion_tokens,
            decode_seconds=metrics["decode_seconds"],
            steps=metrics["steps"],
            drafted=metrics["drafted"],
            accepted=metrics["accepted"],
            drafted_by_source={source: counts["drafted"] for source, counts in metrics["by_source"].items()},
            speculator_version=metrics["speculator_version"],
        )

    def is_served(self) -> bool:
        """Does a node know the endpoint (and the key) by now?"""
        try:
            return any(model.id == self._endpoint for model in self._client.models.list())
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError):
            return False
        except openai.OpenAIError as error:
            raise DemoError(f"{self._endpoint}: {error}") from error


def speed(turns: Iterable[Turn]) -> float:
    """Median tokens/s."""
    return median(turn.tokens_per_second for turn in turns)


def acceptance_length(turns: Iterable[Turn]) -> float:
    """Tokens per step over all turns."""
    steps = accepted = 0
    for turn in turns:
        steps, accepted = steps + turn.steps, accepted + turn.accepted
    return 1 + accepted / steps if steps else 1.0
