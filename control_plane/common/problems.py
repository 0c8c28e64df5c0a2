"""RFC 9457 problem details for every error: `code`, `request_id`; for bad input `errors[{pointer, code, detail}]`."""

from __future__ import annotations

import logging
import math
import sys
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from control_plane.common.errors import ServiceError
from control_plane.common.ids import InvalidId

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    422: "Unprocessable",
    428: "Precondition required",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
# The database is down, restarting, or took this transaction back (a deadlock, a time limit): asking again may help.
_UNAVAILABLE = (OperationalError, InterfaceError)
_RETRY_SECONDS = 2


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    request_id: str = "",
    errors: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:slipstream:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = errors
    return body


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Django REST framework's hook. An unknown exception is logged and becomes a 500 without its text."""
    request_id = getattr(context["request"], "request_id", "")
    headers: dict[str, str] = {}
    if isinstance(error, ServiceError):
        errors = [{"pointer": error.pointer, "code": error.code, "detail": error.detail}] if error.pointer else None
        body = problem(error.status, code=error.code, detail=error.detail, request_id=request_id, errors=errors)
    elif isinstance(error, (Http404, InvalidId)):
        body = problem(404, code="not_found", detail="There is no such object.", request_id=request_id)
    elif isinstance(error, (exceptions.ValidationError, DjangoValidationError)):
        found = _pointers(error.detail if isinstance(error, exceptions.ValidationError) else error.messages)
        body = problem(
            400,
            code="invalid",
            detail=f"{found[0]['pointer'] or 'The request'}: {found[0]['detail']}",
            request_id=request_id,
            errors=found,
        )
    elif isinstance(error, RequestDataTooBig):
        body = problem(413, code="body_too_large", detail=str(error) or "The body is too large.", request_id=request_id)
    elif isinstance(error, PermissionDenied):
        body = problem(403, code="forbidden", detail=str(error) or "Not allowed.", request_id=request_id)
    elif isinstance(error, exceptions.APIException):
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
        if getattr(error, "wait", None):
            headers["Retry-After"] = str(max(1, math.ceil(error.wait)))  # type: ignore[attr-defined]
        code = error.get_codes() if isinstance(error.detail, str) else error.default_code
        body = problem(error.status_code, code=str(code), detail=str(error.detail), request_id=request_id)
    elif isinstance(error, _UNAVAILABLE):
        logger.error("request %s: the database did not answer: %s", request_id, error)
        headers["Retry-After"] = str(_RETRY_SECONDS)
        body = problem(503, code="unavailable", detail="The service can't answer just now.", request_id=request_id)
    else:
        logger.exception("request %s failed", request_id, exc_info=error)
        body = problem(500, code="internal_error", detail="The service failed.", request_id=request_id)
    set_rollback()
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)


def _pointers(detail: Any, pointer: str = "") -> list[dict[str, str]]:
    """Flatten nested validation messages into JSON pointers (RFC 6901)."""
    if isinstance(detail, dict):
        return [
            item
            for key, value in detail.items()
            for item in _pointers(value, pointer if key == "non_field_errors" else f"{pointer}/{key}")
        ]
    if isinstance(detail, list):
        if detail and all(isinstance(item, str) for item in detail):
            return [_entry(pointer, item) for item in detail]
        return [item for index, value in enumerate(detail) if value for item in _pointers(value, f"{pointer}/{index}")]
    return [_entry(pointer, detail)]


def _entry(pointer: str, detail: Any) -> dict[str, str]:
    return {"pointer": pointer, "code": str(getattr(detail, "code", "invalid")), "detail": str(detail)}


def not_found_page(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Paths of the APIs that don't exist answer in the APIs' form, others as a page."""
    if not request.path.startswith(("/api/", "/internal/")):
        return render(request, "web/not_found.html", status=404)
    return _plain(request, 404, "not_found", "There is no such path.")


def server_error_page(request: HttpRequest) -> HttpResponse:
    """What fails outside of a view: among it the transaction that could not begin."""
    if isinstance(sys.exc_info()[1], _UNAVAILABLE):
        response = _plain(request, 503, "unavailable", "The service can't answer just now.")
        response["Retry-After"] = str(_RETRY_SECONDS)
        return response
    return _plain(request, 500, "internal_error", "The service failed.")


def bad_request_page(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """What Django refuses before any view: an unknown host, a malformed request."""
    return _plain(request, 400, "bad_request", "The request is malformed, or not meant for this host.")


def _plain(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    body = problem(status, code=code, detail=detail, request_id=getattr(request, "request_id", ""))
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE)
