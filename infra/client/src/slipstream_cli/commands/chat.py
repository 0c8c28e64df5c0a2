"""`slipstream chat`: requests against an endpoint, and how fast they were."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from slipstream_cli import output
from slipstream_cli.command import Group
from slipstream_cli.exits import DENIED, USAGE, CommandError
from slipstream_cli.session import Object, Session
from slipstream_client.errors import ConnectionFailed, NotAuthenticated, error_of

DEFAULT_INFERENCE_URL = "http://127.0.0.1:8100/v1"


def register(top: Group) -> None:
    top.command("chat")(chat)


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished request; `metrics` is what the service says about its speculation."""

    text: str
    seconds: float
    completion_tokens: int
    metrics: Object

    @property
    def tokens_per_second(self) -> float:
        """What the client sees: all tokens by the time of the whole request."""
        return self.completion_tokens / self.seconds

    def as_json(self) -> Object:
        speed = {
            "seconds": self.seconds,
            "completion_tokens": self.completion_tokens,
            "tokens_per_second": self.tokens_per_second,
        }
        return {"text": self.text, **speed, "speculative_decoding": self.metrics}

    def summary(self) -> str:
        length = self.metrics.get("acceptance_length")
        version = self.metrics.get("speculator_version")
        parts = (
            f"{self.completion_tokens} tokens in {self.seconds:.1f} s: {self.tokens_per_second:.0f} tokens/s",
            f"acceptance length {length:.2f} ({self.metrics.get('mode')})" if length else "no speculation",
            f"speculator version {version}" if version else "",
        )
        return ", ".join(part for part in parts if part)


def chat(
    session: Session,
    endpoint: Annotated[str, typer.Argument(help="Name of an endpoint.")],
    prompt: Annotated[str | None, typer.Argument(help="What to say; without it, standard input.")] = None,
    key: Annotated[str | None, typer.Option(help="API key (sls_…); default: SLIPSTREAM_INFERENCE_KEY.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Send each line of this file as a request of its own.")] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 0.0,
    mode: Annotated[str | None, typer.Option(help="off, static or adaptive; default: the endpoint's.")] = None,
    store: Annotated[bool, typer.Option("--store/--no-store", help="May it be kept for training?")] = True,
) -> None:
    """Ask an endpoint; shows the answer as it comes, then tokens/s and acceptance."""
    options: Object = {"max_tokens": max_tokens, "temperature": temperature, "store": store}
    options["speculation"] = {"mode": mode} if mode else {}
    with _inference(session, key) as http:
        if prompts is not None:
            lines = [line for line in prompts.read_text().splitlines() if line.strip()]
            _ask_all(session, http, endpoint, lines, system, options)
            return
        text = prompt if prompt is not None else sys.stdin.read()
        answer = _ask(http, endpoint, _messages(system, text), options, live=not session.as_json)
    if session.as_json:
        output.print_json(answer.as_json())
    else:
        session.note(answer.summary())


@contextmanager
def _inference(session: Session, key: str | None) -> Iterator[httpx.Client]:
    token = key or session.profile.inference_key
    if not token:
        raise CommandError("Inference needs an API key: --key, SLIPSTREAM_INFERENCE_KEY, or keys create --save.", USAGE)
    url = session.profile.inference_url or DEFAULT_INFERENCE_URL
    local = httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "slipstream-cli"}
    with httpx.Client(base_url=url, headers=headers, timeout=300.0, trust_env=not local) as http:
        yield http


def _ask_all(
    session: Session, http: httpx.Client, endpoint: str, lines: list[str], system: str | None, options: Object
) -> None:
    """One request after the other; a line of figures for each."""
    rows: list[Object] = []
    with output.progress(endpoint) as move:
        for number, line in enumerate(lines, start=1):
            answer = _ask(http, endpoint, _messages(system, line), options, live=False)
            rows.append({"request": number, **answer.as_json()})
            if sys.stderr.isatty() or number % 20 == 0 or number == len(lines):
                said = f"{number}/{len(lines)} requests, {answer.tokens_per_second:.0f} tokens/s"
                move(said, number / len(lines))
    columns: list[output.Column] = ["request", "completion_tokens", "tokens_per_second"]
    columns += [f"speculative_decoding.{name}" for name in ("acceptance_length", "mode", "speculator_version")]
    session.show_page({"data": rows}, columns)


def _ask(http: httpx.Client, endpoint: str, messages: list[dict[str, str]], options: Object, *, live: bool) -> Answer:
    """Streamed: each piece is printed as it comes if `live`."""
    body = {"model": endpoint, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    started = time.monotonic()
    pieces: list[str] = []
    closing: Object = {}
    try:
        with http.stream("POST", "/chat/completions", json={**body, **options}) as response:
            if response.is_error:
                response.read()
                raise _refused(http.base_url, response)
            for event in _events(response):
                if "error" in event:
                    raise CommandError(str(event["error"]["message"]))
                closing = event
                for choice in event["choices"]:
                    piece = choice["delta"].get("content") or ""
                    pieces.append(piece)
                    if live:
                        print(piece, end="", flush=True)
    except httpx.TransportError as error:
        raise ConnectionFailed(f"{http.base_url} does not answer: {error}") from error
    if live:
        print(flush=True)
    metrics = closing.get("metrics", {}).get("speculative_decoding", {})
    return Answer("".join(pieces), time.monotonic() - started, closing["usage"]["completion_tokens"], metrics)


def _events(response: httpx.Response) -> Iterator[Any]:
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def _refused(url: httpx.URL, response: httpx.Response) -> Exception:
    """Inference answers errors in OpenAI's form, and has an address and keys of its own."""
    error = error_of(response)
    body = response.json().get("error", {}) if "json" in response.headers.get("content-type", "") else {}
    error.detail, error.code = str(body.get("message") or error.detail), str(body.get("code") or error.code)
    if isinstance(error, NotAuthenticated):
        where = "  The key is from --key, SLIPSTREAM_INFERENCE_KEY or keys create --save, the address from"
        return CommandError(f"{url} says: {error.detail}\n{where} SLIPSTREAM_INFERENCE_URL or login.", DENIED)
    return error


def _messages(system: str | None, text: str) -> list[dict[str, str]]:
    said = [{"role": "system", "content": system}] if system else []
    return [*said, {"role": "user", "content": text}]
