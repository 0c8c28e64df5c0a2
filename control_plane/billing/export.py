"""A statement as JSON and as CSV; both say the same to the last digit."""

from __future__ import annotations

import csv
import io
from typing import Any

from control_plane.billing import money
from control_plane.billing.selectors import Statement

COLUMNS = ("model", "kind", "quantity", "unit_price", "amount_pico", "amount", "price_id")


def as_json(statement: Statement) -> dict[str, Any]:
    return {
        "organization_id": statement.organization_id,
        "month": statement.month.strftime("%Y-%m"),
        "until": statement.until,
        "currency": "USD",
        "lines": [_line(line) for line in statement.lines],
        "total": money.dollars(statement.total_cents),
        "total_cents": statement.total_cents,
    }


def as_csv(statement: Statement) -> str:
    """One row a line, then the total. Identifiers only: nothing that a spreadsheet would take for a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_line(line) for line in statement.lines)
    writer.writerow({"model": "total", "amount": money.dollars(statement.total_cents)})
    return text.getvalue()


def _line(line: money.Line) -> dict[str, Any]:
    return {
        "model": line.model,
        "kind": line.kind,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "amount_pico": str(line.amount_pico),
        "amount": money.dollars(line.amount_cents),
        "amount_cents": line.amount_cents,
        "price_id": line.price_id,
    }
