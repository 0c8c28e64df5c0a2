"""`Idempotency-Key` on every POST: the answer is stored in the transaction of the effect, and replayed.

Only success is stored: an error had no effect, so repeating the request may try again. A different body under the
same key is 422; a request whose twin is still running is 409. Secrets in an answer are not stored: the replay of a
key's creation shows everything but the key. With the answer goes what it needed (permissions, rank, a fresh
authentication): who has lost any of it gets a refusal instead of the replay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.db import connection
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"


class KeyReused(APIException):
    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = "The Idempotency-Key was used for another request."


class InProgress(APIException):
    status_code = 409
    default_code = "idempotency_in_progress"
    default_detail = "A request with this Idempotency-Key is in progress."
    wait = 1


class BadKey(APIException):
    status_code = 400
    default_code = "idempotency_key_invalid"
    default_detail = "An Idempotency-Key has 1 to 255 characters."


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to answer under a key; `replay` is the stored answer, if there is one, and `needs` what it took."""

    actor: str
    key: str
    request_sha256: str
    replay: Response | None = None
    needs: tuple[tuple[str, str, str], ...] = ()


def key_of(request: Request) -> str | None:
    """The header, if there is one. Raises BadKey."""
    key = request.headers.get(HEADER)
    if key is not None and not 1 <= len(key) <= 255:
        raise BadKey
    return key


def begin(request: Request, actor: str) -> Ticket | None:
    """Look the key up and take its lock until the transaction ends. None without the header."""
    key = key_of(request)
    if key is None:
        return None
    content = json.dumps([request.method, request.get_full_path(), request.data], sort_keys=True)
    ticket = Ticket(actor=actor, key=key, request_sha256=hashlib.sha256(content.encode()).hexdigest())
    lock = int.from_bytes(hashlib.sha256(f"idempotency\n{actor}\n{key}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        if not cursor.fetchone()[0]:
            raise InProgress
    stored = _records().filter(actor=actor, key=key).first()
    if stored is None:
        return ticket
    if stored.request_sha256 != ticket.request_sha256:
        raise KeyReused
    replay = Response(stored.body, status=stored.status, headers={REPLAYED: "true"})
    return replace(ticket, replay=replay, needs=tuple(tuple(need) for need in stored.needs))


def finish(
    ticket: Ticket, response: Response, *, needs: Iterable[tuple[str, str, str]], secret_fields: tuple[str, ...] = ()
) -> None:
    """Store a success beside its effect."""
    body = without(response.data, secret_fields) if isinstance(response.data, dict) else response.data
    _records().create(
        actor=ticket.actor,
        key=ticket.key,
        request_sha256=ticket.request_sha256,
        status=response.status_code,
        body=json.loads(json.dumps(body, default=str)),
        needs=list(dict.fromkeys(needs)),
    )


def without(body: Mapping[str, Any], secret_fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: None if name in secret_fields else value for name, value in body.items()}


def _records() -> Any:
    """The table belongs to the app `tenants`: `common` has no models and imports no app."""
    return apps.get_model("tenants", "IdempotencyRecord").objects
