"""Slipstream's management API, typed.

    from slipstream_client import Slipstream
    from slipstream_client.models import EndpointCreateRequest

    slipstream = Slipstream(api_key="slm_…", base_url="https://slipstream.example")
    endpoint = slipstream.create_endpoint(
        body=EndpointCreateRequest(project_id="prj_…", name="assistant", model="smollm2-135m-instruct")
    )
    endpoint = slipstream.wait_until(endpoint, "ready")
    for run in slipstream.iterate_training_runs(project_id="prj_…"):
        print(run.state, run.state_reason.message)

Methods have the names of the API's operations; `list_things` reads one page, `iterate_things` all of them. Every error
is an exception of `slipstream_client.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipstream_client.errors import ApiError, ConnectionFailed, SlipstreamError, WaitFailed, WaitTimedOut
from slipstream_client.transport import Transport

if TYPE_CHECKING:
    from slipstream_client.client import Slipstream
    from slipstream_client.types import UNSET

__all__ = [
    "UNSET",
    "ApiError",
    "ConnectionFailed",
    "Slipstream",
    "SlipstreamError",
    "Transport",
    "WaitFailed",
    "WaitTimedOut",
]


def __getattr__(name: str) -> Any:
    """The models take a moment to load: only for who uses them."""
    if name == "Slipstream":
        from slipstream_client.client import Slipstream

        return Slipstream
    if name == "UNSET":
        from slipstream_client.types import UNSET

        return UNSET
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
