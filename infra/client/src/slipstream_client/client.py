"""The typed client: every operation as a method, and waiting for typed resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

from slipstream_client.operations import Operations
from slipstream_client.waiting import DEFAULT_WAIT_SECONDS, POLL_SECONDS, wait_for


class Resource(Protocol):
    """A model of an API object that has a state: an endpoint, a rollout, a training run, a version, …"""

    id: str

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any], /) -> Self: ...


R = TypeVar("R", bound=Resource)


class Slipstream(Operations):
    """The management API; see `Transport` for the arguments. Use as a context manager, or call `close`."""

    def wait_until(
        self,
        resource: R,
        *states: str,
        timeout: float = DEFAULT_WAIT_SECONDS,
        interval: float = POLL_SECONDS,
        on_change: Callable[[R], None] | None = None,
    ) -> R:
        """The resource, read again, once it is in one of `states`; times are seconds.

        Raises errors.WaitFailed when it came to rest in another state, errors.WaitTimedOut when it took longer.
        """
        kind = type(resource)

        def show(reading: dict[str, Any]) -> None:
            if on_change is not None:
                on_change(kind.from_dict(reading))

        found = wait_for(self, resource.id, states, timeout=timeout, interval=interval, on_change=show)
        return kind.from_dict(found)
