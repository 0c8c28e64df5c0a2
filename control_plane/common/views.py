"""The base of every view of the management API.

    class Things(ApiView):
        queries = {"get": PageQuery}      # parameters by method; a method without an entry takes none

        @extend_schema(responses=page_schema(ThingSerializer))
        def get(self, request: Request) -> Response:
            rows, cursor = page(selectors.things(self.principal), **self.query)
            return Response(page_body(ThingSerializer(rows, many=True).data, cursor))

Every request is one transaction (ATOMIC_REQUESTS) that sees only the caller's organizations; an error rolls it back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from control_plane.common import idempotency
from control_plane.common.errors import PreconditionRequired
from control_plane.common.isolation import narrow, restore
from control_plane.common.parsing import StrictSerializer, read_query


class NoQuery(StrictSerializer):
    """A path that takes no query parameters."""


class ApiView(APIView):
    queries: ClassVar[dict[str, type[serializers.Serializer[Any]]]] = {}
    # Fields of a POST's answer that are shown once and never stored.
    secret_fields: ClassVar[tuple[str, ...]] = ()

    query: dict[str, Any]
    _ticket: idempotency.Ticket | None = None
    _seen_before: str | None = None

    @property
    def principal(self) -> Any:
        """Whoever is calling (`tenants.principal.Principal`)."""
        return self.request.user

    @property
    def request_id(self) -> str:
        return str(getattr(self.request, "request_id", ""))

    def initial(self, request: Request, *arguments: Any, **options: Any) -> None:
        super().initial(request, *arguments, **options)
        self._seen_before = narrow(self.principal.organization_ids)
        method = (request.method or "").lower()
        read_as = "get" if method == "head" else method
        self.query = read_query(self.queries.get(read_as, NoQuery), request)
        if method == "post":
            self._ticket = idempotency.begin(request, self.principal.actor)
            if self._ticket is not None and self._ticket.replay is not None:
                replay = self._ticket.replay
                self.post = lambda *_, **__: replay

    def finalize_response(self, request: Request, response: Response, *arguments: Any, **options: Any) -> Response:
        ticket = self._ticket
        if ticket is not None and ticket.replay is None and response.status_code < 300:
            idempotency.finish(ticket, response, secret_fields=self.secret_fields)
        if self._seen_before is not None:
            restore(self._seen_before)
        response.setdefault("Cache-Control", "no-store")
        return super().finalize_response(request, response, *arguments, **options)  # type: ignore[return-value]

    def if_match(self, request: Request, *, required: bool = True) -> str | None:
        """The If-Match header. Raises PreconditionRequired when it must be there and is not."""
        header = request.headers.get("If-Match")
        if header is None and required:
            raise PreconditionRequired("Send the ETag that you read as If-Match.")
        return header
