"""The ASGI application of a node: routes, one request id per request, and one table from errors to responses."""

from __future__ import annotations

import math

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataplane.errors import ApiError, EngineFailed, InvalidRequest, MethodNotAllowed, NotFound
from dataplane.server import routes
from dataplane.server.metrics import Metrics
from dataplane.server.serving import Serving
from dataplane.stamps import new_id


def create_app(serving: Serving) -> ASGIApp:
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", routes.chat_completions, methods=["POST"]),
            Route("/v1/completions", routes.completions, methods=["POST"]),
            Route("/v1/models", routes.list_models),
            Route("/v1/models/{model}", routes.get_model),
            Route("/healthz", routes.healthz),
            Route("/readyz", routes.readyz),
            Route("/metrics", routes.metrics),
        ],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected_error},
    )
    app.state.serving = serving
    return RequestIds(app, serving.ledger.metrics)


class RequestIds:
    """Outermost: gives every request an id of ours, never the client's, and says it in every response."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.setdefault("x-slipstream-retention", "none")
                self._metrics.responses.labels(str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_with_id)


def error_response(error: ApiError) -> Response:
    headers = dict(error.headers)
    retry_after = 1.0 if error.retry_after is None and error.status in (429, 503) else error.retry_after
    if retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(retry_after)))
    if error.status == 413:
        headers["connection"] = "close"  # the rest of the body is not going to be read
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(NotFound(f"Unknown path: {request.url.path[:200]}", code="unknown_url"))
    if error.status_code == 405:
        return error_response(MethodNotAllowed(f"{request.method} is not allowed on {request.url.path[:200]}."))
    return error_response(InvalidRequest(str(error.detail)))


async def _unexpected_error(request: Request, error: Exception) -> Response:
    return error_response(EngineFailed("The server failed on this request.", code="internal_error"))
