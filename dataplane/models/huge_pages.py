"""Put large allocations into 2 MB pages: decoding streams all weights once per token, which 4 KB pages slow by a tenth.

Best effort and Linux only: where the system has no transparent huge pages, nothing changes.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

HUGE_PAGE = 2 << 20
_MADV_HUGEPAGE = 14
_MADV_COLLAPSE = 25  # since Linux 6.1: now, not whenever the system finds the time


def use_huge_pages() -> None:
    """Advise it for every private, writable, anonymous mapping that this process has by now."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None, use_errno=True).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for start, end in anonymous_mappings():
            first, last = -(-start // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE
            if first < last and madvise(first, last - first, _MADV_HUGEPAGE) == 0:
                for page in range(first, last, HUGE_PAGE):
                    madvise(page, HUGE_PAGE, _MADV_COLLAPSE)  # fails for pages that nobody has touched: they stay so


def anonymous_mappings() -> list[tuple[int, int]]:
    """Address ranges from /proc/self/maps: `start-end rw-p offset device inode [name]`."""
    ranges = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            bounds, permissions, _, _, inode, *name = line.split()
            if permissions == "rw-p" and inode == "0" and (not name or name[0] == "[heap]"):
                start, _, end = bounds.partition("-")
                ranges.append((int(start, 16), int(end, 16)))
    return ranges
