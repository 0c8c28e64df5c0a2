"""A thread that repeats an action, and backs off while it fails."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 15.0


def repeat(name: str, action: Callable[[], object], *, interval_seconds: float, stop: threading.Event) -> None:
    """Run `action` until `stop`. After failures the pause doubles up to 15 s, with jitter, so that a returning
    control plane isn't met by all nodes at once. An unexpected exception is logged and doesn't end the loop."""
    failures = 0
    while not stop.is_set():
        try:
            action()
            if failures:
                log.info("%s: works again after %d failures", name, failures)
            failures = 0
        except Exception as error:
            failures += 1
            if failures in (1, 10, 100) or failures % 1000 == 0:
                log.warning("%s failed (%d times in a row): %s", name, failures, error)
        stop.wait(pause_seconds(interval_seconds, failures))


def pause_seconds(interval_seconds: float, failures: int) -> float:
    """The pause after `failures` failures in a row."""
    if not failures:
        return interval_seconds
    longest = max(interval_seconds, min(MAX_DELAY_SECONDS, interval_seconds * 2.0 ** min(failures, 10)))
    return longest * random.uniform(0.5, 1.0)


def start_thread(
    name: str, action: Callable[[], object], *, interval_seconds: float, stop: threading.Event
) -> threading.Thread:
    thread = threading.Thread(
        target=repeat,
        args=(name, action),
        kwargs={"interval_seconds": interval_seconds, "stop": stop},
        name=name,
        daemon=True,
    )
    thread.start()
    return thread
