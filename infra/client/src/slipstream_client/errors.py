"""What can go wrong.

SlipstreamError
  ConnectionFailed        no answer came
  WaitFailed              what was waited for ended in another state
  WaitTimedOut            it took longer than asked for
  ApiError                the service answered with a problem (RFC 9457)
    InvalidRequest        400, 413, 415, 422: `errors` name the fields
    NotAuthenticated      401
    PermissionDenied      403
    NotFound              404: absent, or another organization's
    Conflict              409, 412, 428: the object changed, or its state does not allow it
    RateLimited           429
    ServiceFailed         5xx
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx


class SlipstreamError(Exception):
    """Base of everything that this package raises."""


class ConnectionFailed(SlipstreamError):
    """No answer, after all attempts."""


class WaitFailed(SlipstreamError):
    """A resource came to rest in a state that was not waited for. `resource` is the API's object."""

    def __init__(self, message: str, resource: dict[str, Any]) -> None:
        super().__init__(message)
        self.resource = resource


class WaitTimedOut(WaitFailed):
    """A resource did not reach the state in time."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of the request that was refused."""

    pointer: str  # JSON pointer, e.g. /max_lookahead
    code: str
    detail: str


class ApiError(SlipstreamError):
    """A problem that the service reported.

    status: of HTTP. code: stable, for programs. detail: one sentence, for people. request_id: for support.
    errors: the refused fields. retry_after: seconds, where the service named them.
    """

    def __init__(self, response: httpx.Response) -> None:
        body = _json_object(response)
        self.status = response.status_code
        self.code = str(body.get("code") or f"http_{response.status_code}")
        self.detail = str(body.get("detail") or response.reason_phrase)
        self.request_id = str(body.get("request_id") or response.headers.get("x-request-id", ""))
        self.errors = tuple(
            FieldError(str(error.get("pointer", "")), str(error.get("code", "")), str(error.get("detail", "")))
            for error in body.get("errors") or []
        )
        self.retry_after = retry_after(response)
        super().__init__(f"{self.detail} ({self.code}, request {self.request_id})")


class InvalidRequest(ApiError):
    """The request is not one that the service understands, or breaks one of its rules."""


class NotAuthenticated(ApiError):
    """No key, or one that is unknown, revoked or expired."""


class PermissionDenied(ApiError):
    """The key's role does not allow it."""


class NotFound(ApiError):
    """There is no such object, or it is another organization's."""


class Conflict(ApiError):
    """The object has changed, or its state does not allow the operation."""


class RateLimited(ApiError):
    """Too many requests; `retry_after` says when to come again."""


class ServiceFailed(ApiError):
    """The service failed or is not available."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    401: NotAuthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    428: Conflict,
    429: RateLimited,
}


def error_of(response: httpx.Response) -> ApiError:
    """The exception for an answer that is not a success."""
    kind = ServiceFailed if response.status_code >= 500 else _BY_STATUS.get(response.status_code, ApiError)
    return kind(response)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header; None without one (or with a date, which the service never sends)."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
