"""An engine whose output is scripted by the prompt, and a tokenizer whose tokens are bytes."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from dataplane.engines.accounts import Goodput, StepTrace
from dataplane.engines.base import EngineStats, GenerationChunk, GenerationRequest, SpeculationStats, TokenLogprob

EOS = 256


class ByteDetokenizer:
    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_ids: Sequence[int]) -> str:
        return self._decoder.decode(bytes(token for token in token_ids if token < EOS))

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


class ByteCodec:
    """Token n is byte n; 256 ends a sequence."""

    vocab_size = 257
    eos_token_ids = frozenset({EOS})
    detokenizer = ByteDetokenizer

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.token_bytes(*token_ids).decode(errors="replace")

    def apply_chat_template(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return self.encode("".join(f"{message['role']}: {message['content']}\n" for message in messages))

    def token_bytes(self, *token_ids: int) -> bytes:
        return bytes(token for token in token_ids if token < EOS)


@dataclass
class ScriptedEngine:
    """Says what stands between `say <` and `>` in the prompt, then ends; `fail`, `forever` do what they say."""

    aborted: list[str] = field(default_factory=list)
    requests: list[GenerationRequest] = field(default_factory=list)
    waiting: int = 0
    version: str | None = "spv_1"
    pause_seconds: float = 0.001  # between three tokens and the next three

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationChunk]:
        self.requests.append(request)
        prompt = bytes(request.prompt_tokens).decode(errors="replace")
        script = re.search(r"say <(.*?)>", prompt, re.DOTALL)
        tokens = [*(script[1].encode() if script else b"hello"), EOS]
        stats = SpeculationStats(
            request.speculation.mode, 2, 6, 4, decode_seconds=0.1, speculator_version_id=self.version
        )
        goodput = {"memory": Goodput(1, 2.5, 0.02, 3, 0.03)}
        trace = (StepTrace("memory", 2, "better", 2.5, 0.02, 3, 0.03),) if request.trace else ()
        stats = replace(stats, goodput=goodput, trace=trace)
        if "fail" in prompt:
            yield GenerationChunk(tuple(tokens[:2]))
            yield GenerationChunk((), finish_reason="error", error="scripted", stats=stats)
            return
        if "forever" in prompt:
            tokens = tokens[:-1] * 100_000
        for start in range(0, min(len(tokens), request.max_tokens), 3):
            part = tuple(tokens[start : min(start + 3, request.max_tokens)])
            logprobs = tuple(TokenLogprob(token, -0.5, ((token, -0.5),)) for token in part)
            yield GenerationChunk(part, logprobs if request.num_logprobs is not None else (), num_cached_tokens=1)
            await asyncio.sleep(self.pause_seconds)
            if request.request_id in self.aborted:
                yield GenerationChunk((), finish_reason="cancelled", stats=stats)
                return
        yield GenerationChunk((), finish_reason="stop" if len(tokens) <= request.max_tokens else "length", stats=stats)

    def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)

    def stats(self) -> EngineStats:
        return EngineStats(0, self.waiting, 8, 0, 100, 0, 0, 0)
