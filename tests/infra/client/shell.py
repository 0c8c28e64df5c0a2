"""Somebody at a terminal, for tests of the command line against a live control plane."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import pytest
from django.core import mail

from slipstream_cli.main import main


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


class Shell:
    """A terminal of somebody who holds a service key."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, stdin: str | TextIO = "") -> Ran:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin) if isinstance(stdin, str) else stdin)
        status = main(arguments)
        said = self._capsys.readouterr()
        return Ran(status, said.out, said.err)

    def json(self, *arguments: str) -> Any:
        return self(*arguments, "--json").json


class Typed(io.StringIO):
    """Somebody who types one answer after the other, some of them read from a mail just then."""

    def __init__(self, *answers: str | Callable[[], str]) -> None:
        super().__init__()
        self._answers = list(answers)

    def readline(self, size: int | None = -1, /) -> str:
        answer = self._answers.pop(0)
        return (answer if isinstance(answer, str) else answer()) + "\n"


def code_from_the_mail() -> str:
    body = str(mail.outbox[-1].body)
    found = re.search(r"^([A-Z0-9-]{6,})$", body, re.MULTILINE)
    assert found is not None, body
    return found[1]
