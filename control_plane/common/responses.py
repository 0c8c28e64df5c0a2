"""Which answers an operation documents beside its success, and the headers that all of them have."""

from __future__ import annotations

from typing import Any

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable: what programs branch on."},
        "request_id": {"type": "string", "description": "Equal to the header `x-request-id`."},
        "errors": {
            "type": "array",
            "description": "What is wrong with which field of the body, or with which parameter.",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer (RFC 6901), or `/parameter`."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
HEADERS: dict[str, Any] = {
    "RequestId": {"description": "The request's id, for support.", "required": True, "schema": {"type": "string"}},
    "RateLimit": {
        "description": "Requests left and seconds until the whole quota is there again (IETF draft).",
        "schema": {"type": "string"},
    },
    "RateLimitPolicy": {"description": "The quota and its window in seconds.", "schema": {"type": "string"}},
    "RetryAfter": {
        "description": "Seconds to wait before asking again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}
COMMON_HEADERS: dict[str, Any] = {
    "x-request-id": {"$ref": "#/components/headers/RequestId"},
    "RateLimit": {"$ref": "#/components/headers/RateLimit"},
    "RateLimit-Policy": {"$ref": "#/components/headers/RateLimitPolicy"},
}
_NAMES = {
    400: ("BadRequest", "A field or parameter is wrong or unknown: `errors` points at it."),
    401: ("Unauthenticated", "The key or session is missing, unknown, revoked or expired."),
    403: ("Forbidden", "The role, the scopes of the key, or the age of the sign-in do not allow this."),
    404: ("NotFound", "There is no such object, or it is another organization's."),
    409: ("Conflict", "The object's state forbids it, a name is in use, or a request with this key still runs."),
    412: ("PreconditionFailed", "The ETag in If-Match is not the current one."),
    413: ("TooLarge", "The body is larger than a mebibyte."),
    415: ("UnsupportedMediaType", "The body is not `application/json`."),
    422: ("IdempotencyKeyReused", "The Idempotency-Key was used for another request."),
    428: ("PreconditionRequired", "If-Match is missing."),
    429: ("TooManyRequests", "Too many requests."),
    503: ("Unavailable", "The service can't answer just now."),
}


def _refusal(status: int, description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    retry = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}} if status in (429, 503) else {}
    return {"description": description, "headers": COMMON_HEADERS | retry, "content": content}


REFUSALS = {name: _refusal(status, description) for status, (name, description) in _NAMES.items()}


def refusals(method: str, operation: dict[str, Any], path: str) -> list[int]:
    """The statuses of the errors that can happen to this operation."""
    found = [400, 401, 403, 429, 503]
    if "{" in path or "requestBody" in operation or _asks_for_an_object(operation):
        found.append(404)
    if method != "get":
        found.append(409)
    if method == "post":
        found.append(422)
    if method in ("post", "put", "patch"):  # a body is parsed wherever one may come, for its idempotency key too
        found += [413, 415]
    if any(item.get("name") == "If-Match" for item in operation.get("parameters", [])):
        found += [412, 428]
    return sorted(found)


def _asks_for_an_object(operation: dict[str, Any]) -> bool:
    return any(str(item.get("name", "")).endswith("_id") for item in operation.get("parameters", []))


def reference(status: int) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/{_NAMES[status][0]}"}
