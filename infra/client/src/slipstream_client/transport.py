"""One connection to the management API: authentication, retries, idempotency keys, typed errors."""

from __future__ import annotations

import math
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from slipstream_client.errors import ConnectionFailed, error_of, retry_after

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_ATTEMPTS = 4
# A longer Retry-After is not slept through: the error says when to come again.
MAX_WAIT_SECONDS = 60.0
_BACK_OFF_SECONDS = 0.5
_REFUSED = frozenset({429, 503})  # nothing was done: any method may be repeated
_LOST = frozenset({502, 504})  # something may have been done: only what is idempotent may be repeated
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Transport:
    """Sends requests; raises `errors.ApiError` for an answer that is not a success, `ConnectionFailed` for none.

    api_key: a service key (`slm_…`); default: SLIPSTREAM_API_KEY. base_url: the control plane's address without a
    path; default: SLIPSTREAM_URL, else http://127.0.0.1:8000. attempts: how often a request is sent at most. Every
    POST carries an idempotency key, so a repeated one has one effect. `httpx_client` and `sleep` are for tests.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        attempts: int = DEFAULT_ATTEMPTS,
        headers: Mapping[str, str] | None = None,
        httpx_client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = (base_url or os.environ.get("SLIPSTREAM_URL") or DEFAULT_URL).rstrip("/")
        key = api_key if api_key is not None else os.environ.get("SLIPSTREAM_API_KEY", "")
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self.base_url = url
        self._attempts = attempts
        self._sleep = sleep
        # A proxy from the environment is for the network, not for this machine.
        trust_env = urlsplit(url).hostname not in _LOOPBACK
        self._http = httpx_client or httpx.Client(timeout=timeout, trust_env=trust_env)
        self._headers = {"Accept": "application/json", **authorization, **(headers or {})}

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> httpx.Response:
        """The answer, which is a success. `path` begins with a slash, e.g. /api/v1/endpoints."""
        sent = {**self._headers, **(headers or {})}
        if method == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                response = self._http.request(method, self.base_url + path, params=params, headers=sent, json=json)
            except httpx.TransportError as error:
                if last or (method == "PATCH" and not isinstance(error, httpx.ConnectError)):
                    raise ConnectionFailed(f"{self.base_url} does not answer: {_words(error)}") from error
                self._sleep(_back_off(attempt))
                continue
            if response.is_success:
                return response
            wait = self._wait_before_retry(method, response, attempt)
            if last or wait is None:
                raise error_of(response)
            self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _wait_before_retry(method: str, response: httpx.Response, attempt: int) -> float | None:
        """Seconds; None: the answer is final. A PATCH that may have been done would meet its own If-Match."""
        status = response.status_code
        if not (status in _REFUSED or (status in _LOST and method != "PATCH") or _is_in_progress(response)):
            return None
        wait = retry_after(response)
        wait = _back_off(attempt) if wait is None else wait
        return wait if wait <= MAX_WAIT_SECONDS else None


def _is_in_progress(response: httpx.Response) -> bool:
    """Whether an earlier attempt with the same idempotency key is still at work."""
    return response.status_code == 409 and error_of(response).code == "idempotency_in_progress"


def _back_off(attempt: int) -> float:
    """Exponential, with jitter, so that clients that failed together don't return together."""
    return math.ldexp(_BACK_OFF_SECONDS * random.uniform(0.5, 1.0), attempt - 1)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
