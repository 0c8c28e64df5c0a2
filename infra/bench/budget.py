"""Time that is shared out: the same run is a minute or half an hour, and every section gets its part of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class Box:
    """Seconds that one section may take. It always does its least, so that a slow machine also gives a figure."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def spent(self) -> float:
        return self.clock() - self._began

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    def part(self, share: float) -> Box:
        """A box of `share` of what is left, from now on."""
        return Box(max(0.0, share * self.left), self.clock)

    def rounds(self, items: Iterable[Item], *, least: int) -> Iterator[Item]:
        """The items, until another one would not fit any more (as long as those before took); at least `least`."""
        slowest = 0.0
        for count, item in enumerate(items):
            if count >= least and self.spent + slowest > self.seconds:
                return
            before = self.spent
            yield item
            slowest = max(0.7 * slowest, self.spent - before)


class Clock:
    """Progress on the terminal, with the seconds since the start."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._began = time.monotonic()
        self._say = say or (lambda line: print(line, flush=True))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, line: str) -> None:
        self._say(f"[{self.seconds:5.0f} s] {line}")

    def about(self, what: str) -> Callable[[str], None]:
        return lambda line: self(f"{what}: {line}")
