"""From token ids to what a client may see: incremental text with stop strings, and log-probabilities beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dataplane.engines.base import TokenLogprob


class Detokenizer(Protocol):
    """Text of a growing sequence of tokens; holds back bytes that are not yet a character."""

    def push(self, token_ids: Sequence[int]) -> str: ...
    def flush(self) -> str: ...


class Codec(Protocol):
    """The tokenizer as the server sees it. A text or messages that it can't take raise ValueError."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_token_ids(self) -> frozenset[int]: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, token_ids: Sequence[int]) -> str: ...
    def apply_chat_template(self, messages: Sequence[dict[str, str]]) -> list[int]: ...
    def token_bytes(self, token_id: int) -> bytes: ...
    def detokenizer(self) -> Detokenizer: ...


@dataclass(frozen=True, slots=True)
class PlacedLogprob:
    """A token's log-probabilities and where its text begins in the choice's text."""

    offset: int
    logprob: TokenLogprob


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New visible text of one choice."""

    text: str
    logprobs: tuple[PlacedLogprob, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.logprobs)

    def __add__(self, later: TextDelta) -> TextDelta:
        return TextDelta(self.text + later.text, self.logprobs + later.logprobs)


class TextStream:
    """One choice's visible text. A stop string is never shown, also not its beginning: what might become one waits.

    emitted | held (may begin a stop string) | not yet a character
    """

    def __init__(self, detokenizer: Detokenizer, *, stop: Sequence[str], hidden_token_ids: frozenset[int]) -> None:
        self._detokenizer = detokenizer
        self._stop = tuple(stop)
        self._hidden = hidden_token_ids
        self._held = ""
        self._num_emitted = 0
        self._logprobs: list[PlacedLogprob] = []
        self.is_stopped = False

    def push(self, token_id: int, logprob: TokenLogprob | None) -> TextDelta:
        """One more token. Once `is_stopped` is set, the text is complete."""
        assert not self.is_stopped, "the text is complete"
        if token_id in self._hidden:
            return TextDelta("")
        if logprob is not None:
            self._logprobs.append(PlacedLogprob(self._num_emitted + len(self._held), logprob))
        return self._grow(self._detokenizer.push((token_id,)))

    def finish(self) -> TextDelta:
        """The sequence has ended: whatever was held back is text after all."""
        if self.is_stopped:
            return TextDelta("")
        grown = self._grow(self._detokenizer.flush())
        if self.is_stopped:
            return grown
        rest = self._emit(len(self._held), all_logprobs=True)
        return TextDelta(grown.text + rest.text, grown.logprobs + rest.logprobs)

    def _grow(self, text: str) -> TextDelta:
        self._held += text
        found = [index for stop in self._stop if (index := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            delta = self._emit(min(found))
            self._held = ""
            return delta
        return self._emit(len(self._held) - self._possible_stop())

    def _possible_stop(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _emit(self, length: int, *, all_logprobs: bool = False) -> TextDelta:
        text, self._held = self._held[:length], self._held[length:]
        self._num_emitted += length
        num_ready = 0
        while num_ready < len(self._logprobs) and (
            all_logprobs or self._logprobs[num_ready].offset < self._num_emitted
        ):
            num_ready += 1
        ready, self._logprobs = tuple(self._logprobs[:num_ready]), self._logprobs[num_ready:]
        return TextDelta(text, ready)
