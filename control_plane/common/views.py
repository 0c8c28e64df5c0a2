"""The base of every view of the management API.

    class Things(ApiView):
        queries = {"get": PageQuery}      # parameters by method; a method without an entry takes none

        @extend_schema(responses=page_schema(ThingSerializer))
        def get(self, request: Request) -> Response:
            rows, cursor = page(selectors.things(self.principal), **self.query)
            return Response(page_body(ThingSerializer(rows, many=True).data, cursor))

Every request is one transaction (ATOMIC_REQUESTS) that sees only the caller's organizations; an error rolls it back.
So does `?validate_only=true`, which every write takes: the whole handler runs, and nothing of it stays.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import connection
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from control_plane.common import idempotency, throttling
from control_plane.common.errors import PreconditionRequired
from control_plane.common.isolation import narrow, restore
from control_plane.common.parsing import StrictSerializer, read_query

VALIDATE_ONLY = "validate_only"
VALIDATED = "Validate-Only"


class NoQuery(StrictSerializer):
    """A path that takes no query parameters."""


class WriteQuery(StrictSerializer):
    """What every write takes beside its own parameters."""

    validate_only = serializers.BooleanField(default=False)


class ApiView(APIView):
    queries: ClassVar[dict[str, type[serializers.Serializer[Any]]]] = {}
    # Methods that take If-Match: whether they need it.
    conditional: ClassVar[dict[str, bool]] = {}
    # Fields of an answer that are shown once and never stored, nor made for a mere validation.
    secret_fields: ClassVar[tuple[str, ...]] = ()
    max_body_bytes: ClassVar[int] = 1 << 20
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    query: dict[str, Any]
    _ticket: idempotency.Ticket | None = None
    _seen_before: str | None = None
    _standing: throttling.Standing | None = None
    _validate_only = False

    @property
    def principal(self) -> Any:
        """Whoever is calling (`tenants.principal.Principal`)."""
        return self.request.user

    @property
    def request_id(self) -> str:
        return str(getattr(self.request, "request_id", ""))

    def initial(self, request: Request, *arguments: Any, **options: Any) -> None:
        super().initial(request, *arguments, **options)
        self._admit(throttling.management_limit(), self.principal.actor)
        if (request.method or "").lower() not in (*(name.lower() for name in self.allowed_methods), "head"):
            raise exceptions.MethodNotAllowed(request.method or "")  # before its parameters are judged
        self._seen_before = narrow(self.principal.organization_ids)
        method = (request.method or "").lower()
        read_as = "get" if method == "head" else method
        query = self.queries.get(read_as, NoQuery)
        if read_as == "get":
            self.query = read_query(query, request)
            return
        self.query = read_query(query, request, WriteQuery)
        self._validate_only = self.query.pop(VALIDATE_ONLY)
        if method == "post" and idempotency.key_of(request) is not None and not self._validate_only:
            self._ticket = idempotency.begin(request, self.principal.actor)
            if self._ticket is not None and self._ticket.replay is not None:
                self.principal.meet(self._ticket.needs)  # the caller may have lost what the answer took
                replay = self._ticket.replay
                self.post = lambda *_, **__: replay

    def perform_authentication(self, request: Request) -> None:
        """Who doesn't say who they are is limited by address, before any look-up."""
        limit, address = throttling.failure_limit(), throttling.address_of(request)
        self._admit(limit, address, cost=0)
        known = False
        try:
            super().perform_authentication(request)
            known = request.user is not None
        finally:
            if not known:
                self._standing = throttling.take(limit, address)

    def _admit(self, limit: throttling.Limit, who: str, *, cost: int = 1) -> None:
        """Raises Throttled."""
        standing = throttling.take(limit, who, cost=cost)
        if standing is None:
            return
        if cost or not standing.allowed:
            self._standing = standing
        if not standing.allowed:
            raise exceptions.Throttled(standing.retry_after)

    def finalize_response(self, request: Request, response: Response, *arguments: Any, **options: Any) -> Response:
        succeeded = response.status_code < 300
        ticket = self._ticket
        if ticket is not None and ticket.replay is None and succeeded:
            idempotency.finish(ticket, response, needs=self.principal.needs, secret_fields=self.secret_fields)
        if self._validate_only and succeeded:
            self._take_back(response)
        if self._seen_before is not None:
            restore(self._seen_before)
        response.setdefault("Cache-Control", "no-store")
        for name, value in (self._standing.headers if self._standing is not None else {}).items():
            response[name] = value
        return super().finalize_response(request, response, *arguments, **options)  # type: ignore[return-value]

    def _take_back(self, response: Response) -> None:
        """Answer as if, and let nothing of it stay: no row, no audit event, nothing that waits for the commit."""
        with connection.cursor() as cursor:  # what the commit would have checked
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        set_rollback()
        if isinstance(response.data, dict):
            response.data = idempotency.without(response.data, self.secret_fields)
        if response.status_code != 204:
            response.status_code = 200
        for name in ("ETag", "Location"):
            if response.has_header(name):
                del response[name]
        response[VALIDATED] = "true"

    def if_match(self, request: Request, *, required: bool = True) -> str | None:
        """The If-Match header. Raises PreconditionRequired when it must be there and is not."""
        header = request.headers.get("If-Match")
        if header is None and required:
            raise PreconditionRequired("Send the ETag that you read as If-Match.")
        return header
