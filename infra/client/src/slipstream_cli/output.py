"""What commands print: the API's JSON, or tables and fields for people. Progress and notes go to stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Longer ones of the inner values are for programs: --json.
_MAX_INNER_CHARACTERS = 240
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

# A column: a (dotted) field, or a heading with how to get the value.
Column = str | tuple[str, Callable[[Mapping[str, Any]], Any]]


def print_json(value: Any) -> None:
    """Exactly what the API answered."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """One line a row; columns are two spaces apart and never cut, so that the output can be piped."""
    headings = [heading_of(column) for column in columns]
    cells = [[text_of(value_of(row, column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [headings, *cells]) for index in range(len(columns))]
    _print_line(_bold("  ".join(_padded(headings, widths)).rstrip()))
    for line in cells:
        _print_line("  ".join(_padded(line, widths)).rstrip())


def print_fields(thing: Mapping[str, Any]) -> None:
    """Every field of an object, one a line; an inner object's fields are indented."""
    width = max((len(name) for name in thing), default=0)
    for name, value in thing.items():
        if isinstance(value, dict) and value:
            _print_line(_bold(name))
            inner = max(len(key) for key in value)
            for key, item in value.items():
                _print_line(f"  {key.ljust(inner)}  {_brief(item)}")
        else:
            _print_line(f"{_bold(name.ljust(width))}  {_brief(value)}")


def note(text: str) -> None:
    """A remark that is no result; it comes after what was printed before it, also in one pipe."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def heading_of(column: Column) -> str:
    return (column if isinstance(column, str) else column[0]).split(".")[-1].replace("_", " ").upper()


def value_of(row: Mapping[str, Any], column: Column) -> Any:
    if not isinstance(column, str):
        return column[1](row)
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value[:19] + "Z" if _TIME.match(value) else " ".join(value.split())
    if isinstance(value, list) and all(isinstance(item, (str, int)) for item in value):
        return ", ".join(str(item) for item in value) or "-"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _brief(value: Any) -> str:
    text = text_of(value)
    if isinstance(value, (dict, list)) and len(text) > _MAX_INNER_CHARACTERS:
        return f"({len(value)} items: see --json)"
    return text


@contextmanager
def progress(title: str) -> Iterator[Callable[[str, float | None], None]]:
    """`show(text, fraction)` moves a bar; where stderr is no terminal, each new text is a line."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    parts = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda text, fraction: bar.update(
            task, description=f"{title}: {text}", total=None if fraction is None else 1.0, completed=fraction or 0.0
        )


def _lines(title: str) -> Callable[[str, float | None], None]:
    said: list[str] = []

    def show(text: str, fraction: float | None) -> None:
        if said[-1:] != [text]:
            said[:] = [text]
            note(f"{title}: {text}")

    return show


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text


def _print_line(text: str) -> None:
    print(text)
