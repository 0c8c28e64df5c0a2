"""The JSON of OpenAI's responses: whole ones and stream chunks, for chat and for plain completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dataplane.engines.base import SpeculationStats, TokenLogprob
from dataplane.server.generation import Outcome
from dataplane.server.text import Codec, PlacedLogprob

Kind = Literal["chat", "text"]
_OBJECTS = {
    ("chat", False): "chat.completion",
    ("chat", True): "chat.completion.chunk",
    ("text", False): "text_completion",
    ("text", True): "text_completion",
}


@dataclass(frozen=True, slots=True)
class ResponseFormatter:
    """What all chunks of one response have in common, and how its pieces look."""

    kind: Kind
    response_id: str
    created: int  # seconds since the epoch
    model: str
    codec: Codec
    with_logprobs: bool
    with_metrics: bool

    def envelope(self, choices: Sequence[dict[str, Any]], *, stream: bool) -> dict[str, Any]:
        return {
            "id": self.response_id,
            "object": _OBJECTS[self.kind, stream],
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }

    def choice(self, index: int, text: str, logprobs: Sequence[PlacedLogprob], finish_reason: str) -> dict[str, Any]:
        """One complete choice."""
        shown = self._logprobs(logprobs) if self.with_logprobs else None
        common = {"index": index, "logprobs": shown, "finish_reason": finish_reason}
        if self.kind == "text":
            return {**common, "text": text}
        return {**common, "message": {"role": "assistant", "content": text, "refusal": None}}

    def role_choice(self, index: int) -> dict[str, Any]:
        """The first chunk of a chat choice."""
        delta = {"role": "assistant", "content": "", "refusal": None}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def delta_choice(
        self, index: int, text: str, logprobs: Sequence[PlacedLogprob], finish_reason: str | None = None
    ) -> dict[str, Any]:
        """A piece of a choice; the last one has the finish reason and no text."""
        shown = self._logprobs(logprobs) if self.with_logprobs and logprobs else None
        common = {"index": index, "logprobs": shown, "finish_reason": finish_reason}
        if self.kind == "text":
            return {**common, "text": text}
        return {**common, "delta": {"content": text} if finish_reason is None else {}}

    def closing(self, outcome: Outcome) -> dict[str, Any]:
        """Fields of a whole response (or a last chunk) that tell what was done."""
        fields: dict[str, Any] = {"usage": usage(outcome)}
        if self.with_metrics:
            fields |= self.metrics(outcome)
        return fields

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        return {"metrics": {"speculative_decoding": speculation_metrics(outcome.stats)}}

    def _logprobs(self, placed: Sequence[PlacedLogprob]) -> dict[str, Any]:
        if self.kind == "chat":
            return {"content": [self._chat_logprob(item.logprob) for item in placed], "refusal": None}
        return {
            "tokens": [self._token_text(item.logprob.token_id) for item in placed],
            "token_logprobs": [item.logprob.logprob for item in placed],
            "top_logprobs": [
                {self._token_text(token): logprob for token, logprob in item.logprob.top} for item in placed
            ],
            "text_offset": [item.offset for item in placed],
        }

    def _chat_logprob(self, logprob: TokenLogprob) -> dict[str, Any]:
        return {
            **self._token(logprob.token_id, logprob.logprob),
            "top_logprobs": [self._token(token, value) for token, value in logprob.top],
        }

    def _token(self, token_id: int, logprob: float) -> dict[str, Any]:
        data = self.codec.token_bytes(token_id)
        return {"token": data.decode(errors="replace"), "logprob": logprob, "bytes": list(data)}

    def _token_text(self, token_id: int) -> str:
        return self.codec.token_bytes(token_id).decode(errors="replace")


def usage(outcome: Outcome) -> dict[str, Any]:
    return {
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "total_tokens": outcome.prompt_tokens + outcome.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": outcome.cached_tokens},
    }


def speculation_metrics(stats: SpeculationStats) -> dict[str, Any]:
    """`metrics.speculative_decoding`. acceptance_length: tokens per step, the recovered or bonus token included."""
    sources = sorted({*stats.drafted_by_source, *stats.accepted_by_source})
    return {
        "mode": stats.mode,
        "steps": stats.steps,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "acceptance_length": 1.0 + stats.accepted / stats.steps if stats.steps else None,
        "per_position": {"drafted": list(stats.per_position_drafted), "accepted": list(stats.per_position_accepted)},
        "by_source": {
            source: {
                "drafted": stats.drafted_by_source.get(source, 0),
                "accepted": stats.accepted_by_source.get(source, 0),
            }
            for source in sources
        },
        "speculator_version": stats.speculator_version_id,
        "draft_seconds": stats.draft_seconds,
        "control_seconds": stats.control_seconds,
        "target_seconds": stats.target_seconds,
        "decode_seconds": stats.decode_seconds,
        "relearning": stats.relearning,
        "goodput": {source: asdict(sums) for source, sums in sorted(stats.goodput.items())},
        **({"trace": [asdict(step) for step in stats.trace]} if stats.trace else {}),
    }
