"""A tenant's logged traffic, read for training: records from segments, a held-out split, and the target's scores."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import zstandard

from dataplane.contracts import ContractError, TrafficRecord, from_dict
from dataplane.models.generate import prefill
from dataplane.models.llama import LlamaModel
from dataplane.training.unroll import Example

MAX_SEQUENCE_TOKENS = 1024  # a longer record is cut at its end; one whose prompt is longer is left out
MIN_OUTPUT_TOKENS = 4
HELDOUT_SHARE = 0.2  # of the newest records, when no held-out segments are given
MIN_HELDOUT_RECORDS = 4


class DataError(Exception):
    """A segment can't be read at all."""


@dataclass(frozen=True, slots=True)
class Records:
    """What the segments held, oldest first."""

    usable: tuple[TrafficRecord, ...]
    num_bad_lines: int  # not JSON, not a record, or token ids outside the vocabulary
    num_unsuitable: int  # another project's, too short or too long


def read_records(paths: Sequence[str], project_id: str, vocab_size: int) -> Records:
    """All records of `paths` (.jsonl.zst, oldest first). A bad line is counted, an unreadable file is a DataError."""
    usable: dict[str, TrafficRecord] = {}
    bad = unsuitable = 0
    for path in paths:
        for line in _lines(Path(path)):
            try:
                record = from_dict(TrafficRecord, json.loads(line))
            except (ContractError, ValueError, RecursionError):
                bad += 1
                continue
            tokens = record.prompt_tokens + record.output_tokens
            if not tokens or not 0 <= min(tokens) <= max(tokens) < vocab_size or not _are_spans(record.masked):
                bad += 1
            elif record.project_id != project_id or not _suitable(record):
                unsuitable += 1
            else:
                usable[record.record_id] = record  # a segment may be uploaded twice
    return Records(tuple(usable.values()), bad, unsuitable)


def split_heldout(records: Sequence[TrafficRecord]) -> tuple[list[TrafficRecord], list[TrafficRecord]]:
    """(train, held out): the newest share is held out, because a speculator serves the future, not the past."""
    ordered = sorted(records, key=lambda record: record.created_at)
    count = max(MIN_HELDOUT_RECORDS, round(HELDOUT_SHARE * len(ordered)))
    return ordered[:-count], ordered[-count:]


def cut(record: TrafficRecord) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The record's prompt and as much of its output as the length limit leaves."""
    return record.prompt_tokens, record.output_tokens[: MAX_SEQUENCE_TOKENS - len(record.prompt_tokens)]


class Scorer:
    """Scores sequences with the target, keeping the last sequence's cache: a shared beginning is computed once.

    A tenant's prompts mostly begin with the same system prompt, so sorting by prompt saves most of the work.
    """

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._cache = model.new_cache(1, min(MAX_SEQUENCE_TOKENS, model.max_context))
        self._slot = self._cache.allocate()
        self._tokens: list[int] = []
        self._finals = torch.empty(0)
        self._features = torch.empty(0)

    def score(self, prompt: Sequence[int], output: Sequence[int], masked: Sequence[int] = ()) -> Example:
        """The target's features and final states of all tokens but the last; `masked` as `TrafficRecord.masked`."""
        tokens = [*prompt, *output]
        fed = tokens[:-1]
        shared = 0
        for mine, theirs in zip(fed, self._tokens, strict=False):
            if mine != theirs:
                break
            shared += 1
        shared = min(shared, len(fed) - 1)
        kept = self._cache.read(self._slot, 0, shared)
        self._cache.free(self._slot)
        self._slot = self._cache.allocate()
        self._cache.write(self._slot, 0, kept)
        self._cache.commit(self._slot, shared)
        chunks = list(prefill(self._model, self._cache, self._slot, fed[shared:]))
        finals, features = [hidden for hidden, _ in chunks], [captured for _, captured in chunks]
        if shared:
            finals.insert(0, self._finals[:shared])
            features.insert(0, self._features[:shared])
        self._tokens, self._finals, self._features = fed, torch.cat(finals), torch.cat(features)
        # clones, because tensors made in inference mode can't take part in autograd
        spans = tuple(zip(masked[::2], masked[1::2], strict=True))
        return Example(torch.tensor(tokens), len(prompt), self._features.clone(), self._finals.clone(), masked=spans)


def score_records(scorer: Scorer, records: Sequence[TrafficRecord]) -> Iterator[tuple[int, Example]]:
    """(index into `records`, example), in the order that shares most: sorted by prompt."""
    for index in sorted(range(len(records)), key=lambda index: records[index].prompt_tokens):
        yield index, scorer.score(*cut(records[index]), records[index].masked)


def _suitable(record: TrafficRecord) -> bool:
    longest = MAX_SEQUENCE_TOKENS - MIN_OUTPUT_TOKENS
    return 0 < len(record.prompt_tokens) <= longest and len(record.output_tokens) >= MIN_OUTPUT_TOKENS


def _are_spans(masked: Sequence[int]) -> bool:
    """Are these starts and ends in order, as `TrafficRecord.masked` has them?"""
    return len(masked) % 2 == 0 and all(left <= right for left, right in pairwise((0, *masked)))


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            yield from (line for line in io.TextIOWrapper(reader, encoding="utf-8", errors="replace") if line.strip())
    except (OSError, zstandard.ZstdError) as error:
        raise DataError(f"segment {path.name}: {error}") from error
