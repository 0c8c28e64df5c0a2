"""Who runs next: first come, first served, into free slots; prompts are read in chunks between decoding steps."""

from __future__ import annotations

from collections import deque

from dataplane.engines.embedded.sequence import Sequence
from dataplane.models.kv_cache import KvCache


class Scheduler:
    """Waiting and running sequences. The engine's thread alone uses it."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # in order of admission

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def admit(self) -> None:
        """Give free slots to the sequences that have waited longest."""
        while self.waiting and self._cache.num_free:
            sequence = self.waiting.popleft()
            sequence.slot = self._cache.allocate()
            self.running.append(sequence)

    def next_prefill(self) -> Sequence | None:
        """The sequence whose prompt is read next: one at a time, so that the first one starts as early as it can."""
        return next((sequence for sequence in self.running if not sequence.is_prefilled), None)

    def decoding(self) -> list[Sequence]:
        return [sequence for sequence in self.running if sequence.is_prefilled]

    def remove(self, sequence: Sequence) -> None:
        """The sequence has ended, wherever it was."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self.running.remove(sequence)
            self._cache.free(sequence.slot)

    def check_integrity(self) -> None:
        self._cache.check_integrity({sequence.slot for sequence in self.running})
