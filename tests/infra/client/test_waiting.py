from __future__ import annotations

from typing import Any

import httpx
import pytest

from slipstream_client import Transport, WaitFailed, WaitTimedOut
from slipstream_client.errors import NotFound
from slipstream_client.waiting import path_of, wait_for


def endpoint(state: str, *, generation: int = 2, observed: int = 2) -> dict[str, Any]:
    reason = {"code": "x", "message": f"It is {state}."}
    versions = {"generation": generation, "observed_generation": observed}
    return {"id": "ep_1", "state": state, "state_reason": reason, **versions}


def wait(*readings: dict[str, Any], timeout: float = 60.0, state: str = "ready") -> dict[str, Any]:
    """After the last reading the resource is gone."""
    left = list(readings)

    def answer_next(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=left.pop(0)) if left else httpx.Response(404, json={"code": "not_found"})

    answer = httpx.MockTransport(answer_next)
    api = Transport("slm_test", "http://slipstream.test", httpx_client=httpx.Client(transport=answer))
    return wait_for(api, "ep_1", [state], timeout=timeout, sleep=lambda seconds: None)


def test_it_waits_until_the_state_is_reached() -> None:
    assert wait(endpoint("loading"), endpoint("ready"))["state"] == "ready"


def test_a_state_from_before_the_latest_change_does_not_count() -> None:
    """An endpoint that was just asked to change still looks ready, or still looks failed."""
    old = {"generation": 2, "observed": 1}
    assert wait(endpoint("ready", **old), endpoint("failed", **old), endpoint("ready"))["observed_generation"] == 2


def test_it_fails_at_once_when_the_resource_rests_elsewhere() -> None:
    with pytest.raises(WaitFailed, match="failed \\(It is failed\\), not ready") as failed:
        wait(endpoint("failed"))
    assert failed.value.resource["state"] == "failed"


def test_what_is_gone_is_deleted_and_nothing_else() -> None:
    gone = wait(endpoint("deleting"), state="deleted")
    assert (gone["id"], gone["state"]) == ("ep_1", "deleted")
    with pytest.raises(NotFound):
        wait(endpoint("loading"))


def test_it_gives_up_after_the_time() -> None:
    with pytest.raises(WaitTimedOut, match="loading"):
        wait(endpoint("loading"), timeout=-1.0)


def test_only_what_has_a_state_can_be_waited_for() -> None:
    with pytest.raises(ValueError, match="prj_1"):
        path_of("prj_1")
