"""Errors that a node's clients see, in OpenAI's form.

ApiError                      status, type, code, param; retry_after in seconds where waiting helps
├── InvalidRequest            400  the client must change the request; `param` names the field
├── AuthenticationFailed      401
├── PermissionDenied      403  the key is good, and not for this
├── NotFound                  404  absent, or another tenant's: indistinguishable
├── MethodNotAllowed          405
├── BodyTooLarge              413
├── RateLimited               429
├── EngineFailed              500
└── Unavailable               503  this node can't serve now
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An error with its HTTP form: `{"error": {"message", "type", "param", "code"}}`."""

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.code
        self.retry_after = retry_after
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(ApiError):
    status = 400
    type = "invalid_request_error"


class AuthenticationFailed(ApiError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class PermissionDenied(ApiError):
    status = 403
    type = "invalid_request_error"
    code = "insufficient_permissions"


class NotFound(ApiError):
    status = 404
    type = "invalid_request_error"


class MethodNotAllowed(ApiError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class BodyTooLarge(ApiError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class RateLimited(ApiError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class EngineFailed(ApiError):
    status = 500
    type = "server_error"
    code = "engine_error"


class Unavailable(ApiError):
    status = 503
    type = "server_error"
    code = "unavailable"
