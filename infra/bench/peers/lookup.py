"""Prompt lookup (Saxena, 2023) as llama.cpp's bindings do it: drafts from the text itself."""

from __future__ import annotations

import numpy as np

_LONGEST_NGRAM = 3


def look_up(tokens: list[int], count: int) -> list[int]:
    """What followed the last occurrence of the longest n-gram that ends the text."""
    if count <= 0:
        return []
    text = np.array(tokens)
    for size in range(_LONGEST_NGRAM, 0, -1):
        if len(text) <= size:
            continue
        found = np.lib.stride_tricks.sliding_window_view(text[:-1], size)
        places = np.flatnonzero((found == text[-size:]).all(1))
        if len(places):
            after = int(places[-1]) + size
            following: list[int] = text[after : after + count].tolist()
            return following
    return []
