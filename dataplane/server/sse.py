"""A running generation as server-sent events in OpenAI's form.

    role chunk per chat choice, deltas, a chunk with the finish reason per choice, [usage chunk], data: [DONE]

An error after the first byte is an event with the same body that the error would have had as a response.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dataplane.server.generation import ChoiceEnded, Delta, Failed, Generation
from dataplane.server.responses import ResponseFormatter

DONE = b"data: [DONE]\n\n"


def sse_event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def stream_events(
    generation: Generation, formatter: ResponseFormatter, *, num_choices: int, include_usage: bool
) -> AsyncIterator[bytes]:
    """The response body."""
    # OpenAI: with include_usage every chunk has a `usage` field, null in all but the last.
    extra: dict[str, Any] = {"usage": None} if include_usage else {}

    def chunk(choice: dict[str, Any], **fields: Any) -> bytes:
        return sse_event(formatter.envelope([choice], stream=True) | extra | fields)

    held: ChoiceEnded | None = None  # the last choice to end waits: its chunk may have to carry the metrics
    events = generation.events()
    if formatter.kind == "chat":
        for index in range(num_choices):
            yield chunk(formatter.role_choice(index))
    async for event in events:
        if isinstance(event, Delta):
            if event.delta.text or formatter.with_logprobs:
                yield chunk(formatter.delta_choice(event.index, event.delta.text, event.delta.logprobs))
        elif isinstance(event, ChoiceEnded):
            if held is not None:
                yield chunk(formatter.delta_choice(held.index, "", (), held.finish_reason))
            held = event
        elif isinstance(event, Failed):
            yield sse_event(event.error.body())
            yield DONE
        else:
            assert held is not None, "a completed request has at least one choice"
            closing = formatter.delta_choice(held.index, "", (), held.finish_reason)
            in_choice = formatter.with_metrics and not include_usage
            yield chunk(closing, **(formatter.metrics(event.outcome) if in_choice else {}))
            if include_usage:
                yield sse_event(formatter.envelope([], stream=True) | formatter.closing(event.outcome))
            yield DONE


class GenerationStream(StreamingResponse):
    """The response. However it ends, also before its first byte, the generation doesn't outlive it."""

    def __init__(self, generation: Generation, events: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"},
        )
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.end_early("client_cancelled")
