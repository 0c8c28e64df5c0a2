"""How values look: states as labelled badges, exact money, counts with thin separators."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from web.charts import bars, line

register = template.Library()
register.simple_tag(bars)
register.simple_tag(line)

GOOD = {
    "ready",
    "active",
    "succeeded",
    "completed",
    "loaded",
    "eligible",
    "accepted",
    "paid",
    "on",
    "enabled",
    "delivered",
    "tolerated",
}
WARN = {
    "pending", "provisioning", "loading", "updating", "degraded", "stopping", "deleting", "queued", "admitted",
    "preparing", "running", "evaluating", "publishing", "registering", "candidate", "canary", "uploading", "verifying",
    "not_ready", "cordoned", "draining", "relearning", "invited", "surging", "shifting", "observing", "paused",
    "aborting",
}  # fmt: skip
BAD = {
    "failed",
    "aborted",
    "worse",
    "rejected",
    "quarantined",
    "lost",
    "refused",
    "revoked",
    "expired",
    "overdue",
    "rolled_back",
}

PICO_PER_DOLLAR = 10**12
# What templates make of a value that is not there (yet): a field's None, and "" for a part of a report that is none.
ABSENT = (None, "")


@register.filter
def badge(state: str) -> SafeString:
    """A state as a labelled badge: shape and word carry the meaning, colour only repeats it."""
    tone = "good" if state in GOOD else "warn" if state in WARN else "bad" if state in BAD else ""
    return format_html('<span class="badge {}">{}</span>', tone, str(state).replace("_", " "))


@register.filter
def count(value: int | str | None) -> str:
    """12345 -> 12 345 (thin no-break spaces)."""
    return "–" if value in ABSENT else f"{value:,}".replace(",", "\u202f")


@register.filter
def dollars(pico: int | None) -> str:
    """Exact pico-dollars as dollars, never fewer than two and never more than twelve decimals."""
    if pico is None:
        return "–"
    text = f"{Decimal(pico) / PICO_PER_DOLLAR:.12f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"${int(whole):,}.{part.ljust(2, '0')}"


@register.filter
def micro_dollars(micro: int) -> str:
    """A unit price: micro-dollars per million tokens."""
    return dollars(micro * 10**6)


@register.filter
def cents(amount: int) -> str:
    """An amount that was rounded to cents."""
    return f"${amount // 100:,}.{amount % 100:02d}"


@register.filter
def compact(value: Any) -> str:
    """A small mapping on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) if value else "–"


@register.filter
def fixed(value: float | str | None, digits: int = 2) -> str:
    return "–" if value in ABSENT else f"{value:.{digits}f}"


@register.filter
def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


@register.filter
def when(moment: datetime | None) -> SafeString:
    """A moment in UTC, with the exact value for machines."""
    if moment is None:
        return SafeString("–")
    utc = moment.astimezone(UTC)
    return format_html('<time datetime="{}">{} UTC</time>', utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S"))
