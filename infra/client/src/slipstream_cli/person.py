"""A person's session without a browser, for as long as it takes to make a key: the service's account flows as JSON.

sign up ----> code from the mail ----+
                                     v
sign in ----> (second factor) ----> signed in ----> a service key ----> signed out
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from slipstream_cli.exits import CONFLICT, DENIED, LIMITED, UNAVAILABLE, USAGE, CommandError
from slipstream_client.errors import ConnectionFailed
from slipstream_client.transport import DEFAULT_TIMEOUT_SECONDS, Transport

_FLOWS = "/_allauth/app/v1/auth"
_REFUSALS = {
    401: (DENIED, "The service does not let you in."),
    403: (DENIED, "The service does not take new accounts: ask its operators."),
    409: (CONFLICT, "The session is in another state: begin again."),
    410: (DENIED, "The session has ended: begin again."),
    429: (LIMITED, "Too many attempts: wait a few minutes."),
}

# Asks the person: (question, hidden) -> answer.
Ask = Callable[[str, bool], str]


def api_of_session(url: str, token: str) -> Transport:
    """The management API as the person of a session."""
    return Transport("", url, headers={"X-Session-Token": token, "User-Agent": "slipstream-cli"})


class Person:
    """Ends its session when it is left, unless nobody was signed in or the session is kept."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        local = httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(base_url=url + _FLOWS, timeout=DEFAULT_TIMEOUT_SECONDS, trust_env=not local)
        self._token = token
        self._kept = False
        self._pending = ""  # what the service waits for; empty: signed in

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token and not self._pending and not self._kept:
            self._http.delete("/session", headers={"X-Session-Token": self._token})
        self._http.close()

    def sign_up(self, email: str, ask: Ask) -> None:
        """Make an account. Raises CommandError."""
        password = ask("Password (at least 12 characters)", True)
        self._send("/signup", {"email": email, "password": password})
        self._finish(ask)
        self._send("/reauthenticate", {"password": password})  # making a key needs a password, not only the mail's code

    def sign_in(self, email: str, ask: Ask) -> None:
        self._send("/login", {"email": email, "password": ask("Password", True)})
        self._finish(ask)

    def keep(self) -> str:
        """The session's token; the session outlives this object."""
        self._kept = True
        return self._token

    def api(self) -> Transport:
        """The management API, as this person."""
        return api_of_session(self._url, self._token)

    def _finish(self, ask: Ask) -> None:
        while self._pending:
            if self._pending == "verify_email":
                self._send("/email/verify", {"key": ask("Code from the mail", False)})
            elif self._pending == "mfa_authenticate":
                self._send("/2fa/authenticate", {"code": ask("Code of your second factor", False)})
            else:
                raise CommandError(
                    f"The service asks for {self._pending}: sign in with a browser, and make a key there."
                )

    def _send(self, path: str, body: dict[str, str]) -> None:
        """One step; 401 with a pending flow means that another step is to come."""
        headers = {"X-Session-Token": self._token} if self._token else {}
        try:
            response = self._http.post(path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise ConnectionFailed(f"{self._url} does not answer: {error}") from error
        answer: dict[str, Any] = response.json() if "json" in response.headers.get("content-type", "") else {}
        self._token = str(answer.get("meta", {}).get("session_token") or self._token)
        if response.status_code == 200:
            self._pending = ""
            return
        flows = answer.get("data", {}).get("flows", [])
        self._pending = next((str(flow["id"]) for flow in flows if flow.get("is_pending")), "")
        if response.status_code == 401 and self._pending:
            return
        said = " ".join(str(error["message"]) for error in answer.get("errors", []))
        status, words = _REFUSALS.get(response.status_code, (USAGE if response.status_code < 500 else UNAVAILABLE, ""))
        raise CommandError(said or words or f"The service answered with HTTP {response.status_code}.", status)
