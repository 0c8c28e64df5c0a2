"""The demo project of a local service: what is known of it, and whether the node answers for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from infra.local.state import State


def remember(state: State) -> dict[str, Any]:
    """Keep, and return, what `manage.py ensure_demo` printed; secrets are printed once, so what is known stays."""
    lines = state.demo_output.read_text().splitlines()
    printed = next(json.loads(line) for line in reversed(lines) if line.startswith("{"))
    demo = (state.read("demo.json") or {}) | {name: value for name, value in printed.items() if value}
    state.write("demo.json", demo)
    return demo


def wait_until_served(
    demo: dict[str, Any],
    inference_url: str,
    *,
    timeout_seconds: float = 30.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> bool:
    """Until the demo key opens the demo endpoint: a ready node learns of a new project a few seconds later.

    False: not in time, for a reason of the owner's perhaps (the key was revoked, the endpoint stopped).
    """
    deadline = time.monotonic() + timeout_seconds
    while not _is_served(demo, inference_url):
        if "api_key" not in demo or cancelled() or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _is_served(demo: dict[str, Any], inference_url: str) -> bool:
    headers = {"Authorization": f"Bearer {demo.get('api_key')}"}
    try:
        response = httpx.get(f"{inference_url}/models", headers=headers, timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.status_code == 200 and demo["endpoint"] in {model["id"] for model in response.json()["data"]}
