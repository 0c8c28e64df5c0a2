"""Counter-based randomness: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

A draw is a pure function of (seed, absolute position of the token, purpose). There is no state to carry, so a
request's sampled tokens depend on its seed alone: not on the lookahead, the batch or the device. `tl.philox` is the
same function, which is what makes the Triton kernels draw the same numbers.
"""

from __future__ import annotations

from enum import IntEnum

_MASK = 0xFFFFFFFF
_ROUND_A, _ROUND_B = 0xD2511F53, 0xCD9E8D57
_KEY_A, _KEY_B = 0x9E3779B9, 0xBB67AE85


class Purpose(IntEnum):
    """Draws at one position that must be independent of each other."""

    TARGET = 0  # the target's own token
    ACCEPT = 1  # the coin that accepts or rejects a sampled draft token
    RECOVER = 2  # the recovered token after a rejection
    DRAFT = 3  # for drafters that sample: never used by verification


def philox(seed: int, counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Four 32-bit words from a 64-bit seed and a 128-bit counter."""
    key_a, key_b = seed & _MASK, (seed >> 32) & _MASK
    a, b, c, d = counter
    for _ in range(10):
        product_a, product_c = _ROUND_A * a, _ROUND_B * c
        a, b, c, d = (
            (product_c >> 32) ^ b ^ key_a,
            product_c & _MASK,
            (product_a >> 32) ^ d ^ key_b,
            product_a & _MASK,
        )
        key_a, key_b = (key_a + _KEY_A) & _MASK, (key_b + _KEY_B) & _MASK
    return a, b, c, d


def uniform(seed: int, position: int, purpose: Purpose) -> float:
    """A double in [0, 1) with 53 random bits."""
    high, low, _, _ = philox(seed, (position & _MASK, (position >> 32) & _MASK, int(purpose), 0))
    return high * 2.0**-32 + (low >> 11) * 2.0**-53
