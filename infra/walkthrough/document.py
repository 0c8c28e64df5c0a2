"""A Markdown document with console blocks: commands after `$ ` (continued after `> `), and below each what it printed.

```console
$ slipstream projects create support
id  prj_01ab…
```
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_OPEN, _CLOSE = "```console", "```"


@dataclass(frozen=True, slots=True)
class Command:
    lines: tuple[str, ...]  # as written, without the prompts

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def shown(self) -> list[str]:
        return [f"{'$' if index == 0 else '>'} {line}".rstrip() for index, line in enumerate(self.lines)]


def rewrite(document: str, run: Callable[[Command], str]) -> str:
    """The document with the output of each command replaced by what `run` returned for it."""
    written: list[str] = []
    lines = iter(document.splitlines())
    for line in lines:
        written.append(line)
        if line.strip() != _OPEN:
            continue
        for command in _commands(lines):
            written += command.shown()
            written += run(command).splitlines()
        written.append(_CLOSE)
    return "\n".join(written) + "\n"


def _commands(lines: Iterable[str]) -> list[Command]:
    """The commands up to the end of the block; the old output is dropped."""
    found: list[list[str]] = []
    continued = False
    for line in lines:
        if line.strip() == _CLOSE:
            return [Command(tuple(command)) for command in found]
        if line.startswith("$ "):
            found.append([line[2:]])
            continued = True
        elif continued and (line.startswith("> ") or line == ">"):
            found[-1].append(line[2:])
        else:
            continued = False
    raise ValueError("a console block has no end")


@dataclass(frozen=True, slots=True)
class Mask:
    """What a record leaves out: secrets, and most of every id and digest."""

    replacements: tuple[tuple[str, str], ...]  # what stood in this run, and what the document says instead

    def __call__(self, text: str) -> str:
        for found, shown in self.replacements:
            text = text.replace(found, shown)
        text = re.sub(r"\b((?:sls_[a-z]+|slm|whsec)_[A-Za-z0-9+/]{4})[A-Za-z0-9_+/=]{8,}", r"\1…", text)
        # In a table the rest of the width stays, so that columns stay columns.
        text = re.sub(r"\b([a-z]{2,5}_[0-9a-z]{4})[0-9a-z]{18}([0-9a-z]{4})\b(?=(  )?)", _shortened, text)
        text = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", text)
        return "\n".join(line.rstrip() for line in text.splitlines())


def _shortened(found: re.Match[str]) -> str:
    return f"{found[1]}…{found[2]}{' ' * 17 if found[3] else ''}"
