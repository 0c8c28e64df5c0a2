"""Server-rendered SVG: bars and lines that need no script. Every chart stands beside a table with the same numbers."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, ROW, LABEL = 460, 26, 130


def bars(rows: Sequence[tuple[str, float, str]], title: str) -> SafeString:
    """Horizontal bars. rows: (label, value, value as text); values are not negative."""
    top = max((value for _, value, _ in rows), default=0) or 1
    room = WIDTH - LABEL - 110
    marks = format_html_join(
        "",
        '<text x="0" y="{}">{}</text><rect x="{}" y="{}" width="{}" height="16" rx="2"></rect>'
        '<text x="{}" y="{}">{}</text>',
        (
            (
                i * ROW + 17, label if len(label) < 20 else label[:18] + "…",
                LABEL, i * ROW + 5, f"{room * value / top:.1f}",
                f"{LABEL + 8 + room * value / top:.1f}", i * ROW + 17, text,
            )
            for i, (label, value, text) in enumerate(rows)
        ),
    )  # fmt: skip
    return format_html(
        '<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}" width="100%">{}</svg>',
        WIDTH, max(len(rows), 1) * ROW + 4, title, marks,
    )  # fmt: skip


def line(values: Sequence[float], title: str, height: int = 140) -> SafeString:
    """A line over equally spaced values, with its extremes written at the left."""
    if len(values) < 2:
        return SafeString("")
    low, high = min(values), max(values)
    span = (high - low) or 1
    step = (WIDTH - 60) / (len(values) - 1)
    path = "M" + "L".join(
        f"{50 + i * step:.1f} {height - 12 - (value - low) / span * (height - 24):.1f}"
        for i, value in enumerate(values)
    )
    return format_html(
        '<svg class="bars" viewBox="0 0 {0} {1}" role="img" aria-label="{2}" width="100%">'
        '<line class="axis" x1="50" y1="{3}" x2="{0}" y2="{3}"></line>'
        '<text x="0" y="16">{4}</text><text x="0" y="{3}">{5}</text><path class="line-path" d="{6}"></path></svg>',
        WIDTH, height, title, height - 12, f"{high:.3g}", f"{low:.3g}", path,
    )  # fmt: skip
