"""Keys, values and features of prompt chunks that were computed before, for requests of the same project.

A chunk's key is a hash chain over the project's salt and every token up to its end, so that a chunk is found only
behind the same prefix and by holders of the same salt: no timing tells another project what was asked here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class PrefixChunk:
    """One chunk of a prompt as the cache holds it."""

    keys_values: torch.Tensor  # [layers, chunk, 2 * kv * dim]
    features: torch.Tensor  # [chunk, 3 H]: a drafter must be extended over cached positions as well

    @property
    def num_bytes(self) -> int:
        return self.keys_values.nbytes + self.features.nbytes


class PrefixCache:
    """At most `max_bytes` of chunks; the least recently used ones go first."""

    def __init__(self, max_bytes: int, chunk_size: int) -> None:
        self.chunk_size = chunk_size
        self.num_queries = 0
        self.num_hits = 0
        self.num_bytes = 0
        self._max_bytes = max_bytes
        self._chunks: OrderedDict[bytes, PrefixChunk] = OrderedDict()

    def keys(self, salt: str, tokens: Sequence[int]) -> list[bytes]:
        """One key per whole chunk of `tokens`."""
        key = hashlib.sha256(salt.encode("utf-8", "surrogatepass")).digest()
        keys = []
        for start in range(0, len(tokens) - self.chunk_size + 1, self.chunk_size):
            chunk = np.array(tokens[start : start + self.chunk_size], dtype=np.int64)
            key = hashlib.sha256(key + chunk.tobytes()).digest()
            keys.append(key)
        return keys

    def get(self, key: bytes) -> PrefixChunk | None:
        self.num_queries += 1
        chunk = self._chunks.get(key)
        if chunk is not None:
            self.num_hits += 1
            self._chunks.move_to_end(key)
        return chunk

    def put(self, key: bytes, chunk: PrefixChunk) -> None:
        if key in self._chunks or chunk.num_bytes > self._max_bytes:
            return
        self._chunks[key] = chunk
        self.num_bytes += chunk.num_bytes
        while self.num_bytes > self._max_bytes:
            self.num_bytes -= self._chunks.popitem(last=False)[1].num_bytes

    def check_integrity(self) -> None:
        """Raises RuntimeError if the byte count is off or beyond the cap."""
        if (
            self.num_bytes != sum(chunk.num_bytes for chunk in self._chunks.values())
            or self.num_bytes > self._max_bytes
        ):
            raise RuntimeError(f"the prefix cache counts {self.num_bytes} of {self._max_bytes} bytes")
