"""What of a record may be stored: all of it, nothing, or all but what looks secret or personal.

    off     the record as it is: the project's own choice
    drop    a record in which anything looks sensitive is not stored
    mask    the tokens that touch something sensitive become a placeholder like `[email]`, which training leaves out

    prompt and output   ... | to | bob@ | exam | ple | .com | . | ...
    stored              ... | to | [ | email | ]          | . | ...      masked = (start, end, ...)

A placeholder has the same tokens whatever it hides, so that not even a length is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import Protocol

from dataplane.contracts import TrafficRecord
from dataplane.traffic.sensitive import Span, find_sensitive, looks_sensitive


class Codec(Protocol):
    """The tokenizer, as far as redaction needs it."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, token_ids: Sequence[int]) -> str: ...
    def token_bytes(self, token_id: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Redactor:
    """Applies the redaction that the project's policy asked for when the record was made."""

    codec: Codec

    def __call__(self, record: TrafficRecord) -> TrafficRecord | None:
        """The record as it may be stored; None: not at all. Nothing that the rules know is in what is returned."""
        if record.consent.redaction == "off":
            return record
        if record.consent.redaction == "mask":
            record = self._mask(record)
        return None if self._is_sensitive(record) else record

    def _is_sensitive(self, record: TrafficRecord) -> bool:
        """As bytes and as text: a tokenizer whose tokens are no bytes may put them together in its own way."""
        sizes, text = self._bytes(record)
        tokens = [*record.prompt_tokens, *record.output_tokens]
        return bool(_spans(text, sum(sizes[: len(record.prompt_tokens)]))) or looks_sensitive(self.codec.decode(tokens))

    def _bytes(self, record: TrafficRecord) -> tuple[list[int], bytes]:
        """(how many bytes each token is, all bytes): of the prompt and then of the output."""
        parts = [self.codec.token_bytes(token) for token in (*record.prompt_tokens, *record.output_tokens)]
        return [len(part) for part in parts], b"".join(parts)

    def _mask(self, record: TrafficRecord) -> TrafficRecord:
        tokens = [*record.prompt_tokens, *record.output_tokens]
        kinds = self._kinds(record)
        if not any(kinds):
            return record
        prompt, masked = self._replace(tokens, kinds, 0, len(record.prompt_tokens), at=0)
        output, more = self._replace(tokens, kinds, len(record.prompt_tokens), len(tokens), at=len(prompt))
        return replace(record, prompt_tokens=tuple(prompt), output_tokens=tuple(output), masked=(*masked, *more))

    def _kinds(self, record: TrafficRecord) -> list[str]:
        """What each token is a part of; "" for most."""
        sizes, text = self._bytes(record)
        kinds = [""] * len(sizes)
        ends = list(accumulate(sizes))
        for span in _spans(text, sum(sizes[: len(record.prompt_tokens)])):
            for index in range(bisect_right(ends, span.start), bisect_right(ends, span.end - 1) + 1):
                kinds[index] = kinds[index] or span.kind
        return kinds

    def _replace(
        self, tokens: Sequence[int], kinds: Sequence[str], start: int, end: int, *, at: int
    ) -> tuple[list[int], list[int]]:
        """(tokens[start:end] with placeholders, the placeholders' starts and ends); the first token lands at `at`."""
        kept: list[int] = []
        masked: list[int] = []
        for kind, run in groupby(range(start, end), key=lambda index: kinds[index]):
            if not kind:
                kept += [tokens[index] for index in run]
                continue
            placeholder = self.codec.encode(f"[{kind}]")
            masked += [at + len(kept), at + len(kept) + len(placeholder)]
            kept += placeholder
        return kept, masked


def _spans(text: bytes, output_at: int) -> list[Span]:
    """What is sensitive in the prompt, in the output, and where they meet: either may hide it in the other."""
    output = [Span(output_at + start, output_at + end, kind) for start, end, kind in find_sensitive(text[output_at:])]
    return [*find_sensitive(text), *find_sensitive(text[:output_at]), *output]


def unmasked_outputs(record: TrafficRecord) -> Iterator[tuple[int, ...]]:
    """The pieces of a record's output between its placeholders, each as the target wrote it."""
    start, first = len(record.prompt_tokens), len(record.prompt_tokens)
    tokens = record.prompt_tokens + record.output_tokens
    for left, right in zip(record.masked[::2], record.masked[1::2], strict=True):
        if right <= first:
            continue
        if left > start:
            yield tokens[start:left]
        start = right
    if start < len(tokens):
        yield tokens[start:]
