"""Every request gets an id of ours, never the client's; it is in the answer, in errors and in the log."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from control_plane.common.ids import new_id


class RequestIdMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = new_id("req")  # type: ignore[attr-defined]
        if "\x00" in request.path:  # PostgreSQL has no such string: nothing of that name can exist
            request.path_info = "/not-found"
        request.COOKIES = {name: value for name, value in request.COOKIES.items() if "\x00" not in value}
        response = self.get_response(request)
        response["x-request-id"] = request.request_id  # type: ignore[attr-defined]
        return response
