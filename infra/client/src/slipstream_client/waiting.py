"""Waiting for a resource to reach a state: one poll loop for the typed client and the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from slipstream_client.errors import NotFound, WaitFailed, WaitTimedOut
from slipstream_client.transport import Transport

DEFAULT_WAIT_SECONDS = 600.0
POLL_SECONDS = 1.0

# By the prefix of an id: where the resource is read, and the states that it never leaves by itself.
RESOURCES: dict[str, tuple[str, frozenset[str]]] = {
    "ep": ("/api/v1/endpoints", frozenset({"failed", "stopped", "deleted"})),
    "rol": ("/api/v1/rollouts", frozenset({"completed", "paused", "aborted", "failed"})),
    "run": ("/api/v1/training-runs", frozenset({"succeeded", "rejected", "skipped", "failed", "cancelled"})),
    "spv": ("/api/v1/speculator-versions", frozenset({"rejected", "quarantined", "retired", "purged"})),
    "tex": ("/api/v1/traffic-exports", frozenset({"ready", "failed", "expired"})),
    "node": ("/api/v1/nodes", frozenset({"drained", "lost"})),
}


def path_of(resource_id: str) -> str:
    """Where a resource with this id is read. Raises ValueError for an id of a kind that has no state."""
    prefix, _, rest = resource_id.partition("_")
    if prefix not in RESOURCES or not rest:
        raise ValueError(f"{resource_id!r} is not the id of something with a state")
    return f"{RESOURCES[prefix][0]}/{resource_id}"


def is_final(resource: dict[str, Any]) -> bool:
    """Whether nothing more happens to the resource unless somebody asks for it."""
    prefix = str(resource["id"]).partition("_")[0]
    return resource["state"] in RESOURCES[prefix][1] and _is_observed(resource)


def wait_for(
    transport: Transport,
    resource_id: str,
    states: Collection[str],
    *,
    timeout: float = DEFAULT_WAIT_SECONDS,
    interval: float = POLL_SECONDS,
    on_change: Callable[[dict[str, Any]], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The API's object once it is in one of `states` and the service has seen its latest change.

    timeout, interval: seconds. on_change: called with each reading. Raises WaitFailed when the resource came to rest in
    another state, WaitTimedOut, or ApiError. Something that can't be read any more is `deleted`.
    """
    path = path_of(resource_id)
    deadline = time.monotonic() + timeout
    resource: dict[str, Any] = {"id": resource_id}
    while True:
        try:
            resource = transport.send("GET", path).json()
        except NotFound:
            if "deleted" not in states:
                raise
            return {**resource, "state": "deleted"}
        if on_change is not None:
            on_change(resource)
        if resource["state"] in states and _is_observed(resource):
            return resource
        if is_final(resource):
            raise WaitFailed(f"{resource_id} is {_words(resource)}, not {_any_of(states)}.", resource)
        if time.monotonic() > deadline:
            raise WaitTimedOut(
                f"{resource_id} is {_words(resource)} after {timeout:.0f} s, not yet {_any_of(states)}.", resource
            )
        sleep(interval)


def _is_observed(resource: dict[str, Any]) -> bool:
    """Without this, an endpoint that was just asked to change would still look ready."""
    wanted, seen = resource.get("generation"), resource.get("observed_generation")
    return wanted is None or seen is None or bool(seen >= wanted)


def _any_of(states: Collection[str]) -> str:
    return " or ".join(states)


def _words(resource: dict[str, Any]) -> str:
    reason = (resource.get("state_reason") or {}).get("message")
    return f"{resource['state']} ({str(reason).rstrip('.')})" if reason else str(resource["state"])
