"""The control channel between our server and SGLang's scheduler process: a Unix socket, a line of JSON each way.

    {"call": "refresh", "with": {...}}  ->  {"result": ...}  or  {"error": "..."}

Only the operations that the server was given exist, and nothing is ever unpickled. Who may enter the socket's folder
may use it: it is made with mode 700.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

MAX_LINE = 4 << 20  # bytes of one message
Operation = Callable[..., Any]  # keyword arguments and result are JSON


class ControlError(RuntimeError):
    """The other process refused the call, or it is gone."""


class ControlServer:
    """Answers calls, each connection in a thread of its own."""

    def __init__(self, path: str, operations: Mapping[str, Operation]) -> None:
        self._operations = dict(operations)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o077)
        try:
            self._listener.bind(path)
        finally:
            os.umask(before)
        self._listener.listen(8)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), name="control", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            while line := stream.readline(MAX_LINE):
                stream.write(json.dumps(self._answer(line)).encode() + b"\n")
                stream.flush()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
            operation = self._operations.get(message["call"])
            if operation is None:
                return {"error": f"there is no operation {message['call']!r}"}
            return {"result": operation(**message["with"])}
        except Exception as error:  # the caller is told; the scheduler goes on
            log.exception("a control call failed")
            return {"error": f"{type(error).__name__}: {error}"}


class ControlClient:
    """One connection; calls from several threads take turns."""

    def __init__(self, path: str, *, timeout_seconds: float = 60.0) -> None:
        """Raises ControlError if nobody listens."""
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ControlError(f"the scheduler process does not listen: {error}") from error
        self._stream = self._socket.makefile("rwb")

    def call(self, operation: str, **arguments: Any) -> Any:
        """The operation's result. Raises ControlError."""
        with self._lock:
            try:
                self._stream.write(json.dumps({"call": operation, "with": arguments}).encode() + b"\n")
                self._stream.flush()
                line = self._stream.readline(MAX_LINE)
            except (OSError, ValueError) as error:
                raise ControlError(f"the scheduler process is gone: {error}") from error
        if not line:
            raise ControlError("the scheduler process is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise ControlError(f"{operation}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """The other process may be gone already."""
        with self._lock:
            with suppress(OSError):  # what a failed call left in the buffer
                self._stream.close()
            self._socket.close()
