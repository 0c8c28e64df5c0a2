"""Requests to addresses that a tenant chose must not reach what only the service can reach (SSRF).

The name is resolved here, every address of it is checked, and the connection goes to the checked address itself: a name
that resolves to something else a moment later changes nothing. TLS still verifies the name.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

# (host, port) -> addresses. An argument, so that tests can be a hostile name server.
Resolver = Callable[[str, int], list[str]]


class ForbiddenAddress(httpcore.ConnectError):
    """The name resolves to an address that is not of the public internet."""


def resolve(host: str, port: int) -> list[str]:
    """Of the system's resolver. Raises httpcore.ConnectError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} can't be resolved") from error
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def is_public(text: str) -> bool:
    """Whether an address is globally routable unicast; so must be the IPv4 address that a tunnelled IPv6 one carries.

    IPv4-mapped and NAT64 addresses lie in reserved ranges: they are refused whatever they carry.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    carried = address.sixtofour or (address.teredo[1] if address.teredo else None)
    return address.ipv4_mapped is None and (carried is None or is_public(str(carried)))


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only (unless `allow_private`), and ends everything at `deadline` (monotonic)."""

    def __init__(self, *, resolver: Resolver, allow_private: bool, deadline: float) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolver(host, port)
        if not addresses:
            raise httpcore.ConnectError(f"{host} has no address")
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise ForbiddenAddress(f"{host} has an address that is not public")
        failure: Exception | None = None
        for address in addresses:
            try:
                stream = self._sockets.connect_tcp(address, port, _left(self._deadline, timeout))
                return _BoundedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    def connect_unix_socket(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        raise ForbiddenAddress("a socket of this machine is not an address")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _BoundedStream(httpcore.NetworkStream):
    """A receiver that sends a byte every few seconds would outlive any limit on a single read."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _BoundedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    """Raises httpcore.ReadTimeout when the time is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the receiver took too long")
    return left if timeout is None else min(left, timeout)
