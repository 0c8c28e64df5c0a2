"""One signed request (Standard Webhooks), and what came of it."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import httpcore
import httpx
from standardwebhooks.webhooks import Webhook as Signer

from control_plane.webhooks.guard import ForbiddenAddress, GuardedBackend, Resolver, resolve

SECONDS = 10.0
MAX_RESPONSE = 1024  # characters of the answer that are kept; the rest is not read


@dataclass(frozen=True, slots=True)
class Message:
    """What to send where. secrets: each of them signs."""

    url: str
    event_id: str
    body: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """error is empty on success. latency in milliseconds."""

    status_code: int | None
    error: str
    latency_milliseconds: int
    response: str = ""

    @property
    def succeeded(self) -> bool:
        return not self.error


def send(
    message: Message, *, now: datetime, allow_private: bool, resolver: Resolver = resolve, seconds: float = SECONDS
) -> Outcome:
    """Post the message. Redirects are not followed; whatever goes wrong is an outcome, never an exception."""
    started = time.monotonic()
    backend = GuardedBackend(resolver=resolver, allow_private=allow_private, deadline=started + seconds)
    status: int | None = None
    text = ""
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool,
            pool.stream(
                "POST", _address(message.url), headers=_headers(message, now), content=message.body.encode()
            ) as answer,
        ):
            status = answer.status
            text = _beginning(answer)
        error = "" if 200 <= status < 300 else "redirect" if 300 <= status < 400 else "status"
    except ForbiddenAddress:
        error = "forbidden_address"
    except httpcore.TimeoutException:
        error = "timeout"
    except (httpcore.NetworkError, OSError):  # certificates that don't verify are OSErrors
        error = "connection"
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, httpx.InvalidURL, UnicodeError):
        error = "protocol"
    return Outcome(status, error, round((time.monotonic() - started) * 1000), text)


def _beginning(answer: httpcore.Response) -> str:
    """What the receiver says beside its status, for the log; if that breaks off, the status still counts."""
    found = b""
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in answer.iter_stream():
            found += chunk
            if len(found) >= MAX_RESPONSE:
                break
    return found[:MAX_RESPONSE].decode("utf-8", "replace").replace("\x00", "\ufffd")


def _address(url: str) -> httpcore.URL:
    parts = httpx.URL(url)
    return httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)


def _headers(message: Message, now: datetime) -> list[tuple[str, str]]:
    signatures = [Signer(secret).sign(message.event_id, now, message.body) for secret in message.secrets]
    return [
        ("host", httpx.URL(message.url).netloc.decode("ascii")),
        ("user-agent", "Slipstream-Webhooks/1"),
        ("content-type", "application/json"),
        ("content-length", str(len(message.body.encode()))),
        ("accept-encoding", "identity"),
        ("connection", "close"),
        ("webhook-id", message.event_id),
        ("webhook-timestamp", str(int(now.timestamp()))),
        ("webhook-signature", " ".join(signatures)),
    ]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
