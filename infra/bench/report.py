"""The report: every figure with its interval, target and verdict; JSON for programs, Markdown for people."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.bench.figures import FIGURES, Measured, Records, floor_ratios, floor_windows, measure_all, peer_ratios
from infra.bench.machine import Machine
from infra.bench.store import write_json


def write_report(
    records: Records,
    machine: Machine,
    folder: Path,
    *,
    seconds: float,
    settings: Mapping[str, Any],
    keys: Sequence[str] | None = None,
) -> Path:
    """Write report.json and report.md, each atomically; returns the path of report.json."""
    figures = measure_all(records, keys)
    path = folder / "report.json"
    write_json(path, {
        "ratios": {key: one.value for key, one in figures.items()},
        "figures": {key: dataclasses.asdict(one) for key, one in figures.items()},
        "targets": {one.key: {"value": one.target, "at_least": not one.is_at_most, "anchor": one.anchor}
                    for one in FIGURES},
        "verdicts": {one.key: one.verdict(figures[one.key]) for one in FIGURES if one.key in figures},
        "over_peers": peer_ratios(records),
        "machine": dataclasses.asdict(machine) | {"load_average_after": os.getloadavg()},
        "settings": dict(settings),
        "seconds": seconds,
        "sections": dict(records),
    })  # fmt: skip
    markdown = folder / "report.new"
    markdown.write_text(as_markdown(records, figures, machine, seconds=seconds))
    markdown.rename(folder / "report.md")
    return path


def print_figures(records: Records, keys: Sequence[str] | None = None) -> None:
    figures = measure_all(records, keys)
    print()
    for one in FIGURES:
        if (measured := figures.get(one.key)) is None:
            continue
        sign = "at most" if one.is_at_most else "at least"
        print(f"  {one.key:32} {_value(measured):>7} {_interval(measured):16} {sign} {one.target:g}: "
              f"{one.verdict(measured)}{f'  ({measured.note})' if measured.note else ''}")  # fmt: skip
    print()


def as_markdown(records: Records, figures: Mapping[str, Measured], machine: Machine, *, seconds: float) -> str:
    features = ", ".join(machine.instructions)
    lines = [
        "# slipstream bench",
        "",
        f"{machine.started_at}, {seconds:.0f} s; {machine.cores} cores of {machine.processor} ({features}), "
        f"{machine.memory_bytes / 2**30:.0f} GiB; {machine.platform}; Python {machine.python}, PyTorch "
        f"{machine.torch}; commit {machine.commit[:12]} ({machine.modified_files} modified files); load average before "
        f"{machine.load_average[0]:.1f}. Intervals are 90 % bootstrap intervals.",
        "",
        "| figure | key | measured | interval | wanted | verdict | anchor | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in FIGURES:
        if (measured := figures.get(one.key)) is not None:
            sign = "≤" if one.is_at_most else "≥"
            lines.append(f"| {one.title} | `{one.key}` | {_value(measured)} | {_interval(measured)} | {sign} "
                         f"{one.target:g} | {one.verdict(measured)} | {one.anchor} | {measured.note} |")  # fmt: skip
    for title, rows in (
        ("Adapted ÷ peers, held-out requests of narrow tenants", _peer_rows(records)),
        ("Streams, tokens/s", _stream_rows(records)),
        ("Controller ÷ best fixed setting", _fixed_rows(records)),
        ("Tiers, ÷ plain", _ablation_rows(records)),
        ("Newcomers", _curve_rows(records)),
        ("Windows of 10 s against the floor", _window_rows(records)),
        ("Changed weights (RL)", _rl_rows(records)),
        ("The adaptive arm: acceptance by position, calibration, cost of control", _adaptive_rows(records)),
    ):
        if rows:
            lines += ["", f"## {title}", "", *rows]
    return "\n".join(lines) + "\n"


def _peer_rows(records: Records) -> list[str]:
    ratios = peer_ratios(records)
    missing: dict[str, str] = {}
    for record in records.values():
        missing |= record.get("beside_peers", {}).get("missing", {})
    rows = [f"| {name} | {one['value']:.2f} | [{one['low']:.2f}, {one['high']:.2f}] | {one['count']} |"
            for name, one in sorted(ratios.items(), key=lambda item: item[1]["value"])]  # fmt: skip
    head = ["| peer and mode | ours ÷ peer | interval | requests |", "|---|---|---|---|", *rows] if rows else []
    return head + [f"* {name}: not available: {reason}" for name, reason in missing.items()]


def _stream_rows(records: Records) -> list[str]:
    rows = []
    for name, record in records.items():
        for part, one in ((name, record), (f"{name}, newcomer", record.get("curve", {}))):
            if speeds := one.get("tokens_per_second"):
                lengths = one["acceptance_length"]
                shown = "; ".join(f"{arm} {speed:.1f} ({lengths[arm]:.2f})" for arm, speed in speeds.items())
                rows.append(f"* {part}, {len(one['laps'])} requests (acceptance length): {shown}")
    return rows


def _fixed_rows(records: Records) -> list[str]:
    cells = records.get("fixed", {}).get("cells", {})
    rows = [f"| {name} | {one['best_fixed']} | {one['adaptive_over_best']['value']:.2f} | "
            f"{one['static_over_best']['value']:.2f} |" for name, one in cells.items()]  # fmt: skip
    head = ["| workload and streams | best fixed | adaptive ÷ best | controller on static only ÷ best without memory |"]
    return [*head, "|---|---|---|---|", *rows] if rows else []


def _ablation_rows(records: Records) -> list[str]:
    record = records.get("ablation")
    ratios = {} if record is None else record["over_plain"]
    return [f"* {name}: {one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]" for name, one in ratios.items()]


def _curve_rows(records: Records) -> list[str]:
    rows = []
    for name, record in records.items():
        if curve := record.get("curve"):
            rows.append(
                f"* {name.removeprefix('tenant-')}: half of the gap to the oracle after {curve['requests_to_half']} "
                f"requests ({_seconds(curve['seconds_to_half'])}), 90 % after {curve['requests_to_90']} "
                f"({_seconds(curve['seconds_to_90'])}), of {len(curve['laps'])} that ran"
            )
    return rows


def _window_rows(records: Records) -> list[str]:
    values = floor_windows(records)
    rows = [f"* {name}: {ratio:.3f} over the whole stream" for name, ratio in floor_ratios(records).items()]
    if values:
        below = sum(value < 0.98 for value in values)
        rows.append(f"* {len(values)} windows, below 0.98: {below}, worst {min(values):.3f}")
    return rows


def _rl_rows(records: Records) -> list[str]:
    if "rl" not in records:
        return []
    from infra.bench.sections.rl import fall_and_return

    return [f"* change {number}: acceptance length {one['before']:.2f} before, {one['after']:.2f} right after, "
            f"{one['end']:.2f} at the end of the round"
            for number, one in enumerate(fall_and_return(records["rl"]), start=1)]  # fmt: skip


def _adaptive_rows(records: Records) -> list[str]:
    rows = []
    for name, record in records.items():
        one, arm = (record["curve"], "adapted") if "curve" in record else (record, "adaptive")
        if arm in one.get("calibration_error", ()):
            positions = " ".join(f"{value:.2f}" for value in one["accepted_by_position"][arm])
            error = one["calibration_error"][arm]
            rows.append(
                f"* {name}: accepted by position {positions}; calibration error "
                f"{'–' if error is None else f'{error:.3f}'}; memory and controller "
                f"{one['control_microseconds_per_token'][arm]:.0f} µs per token"
            )
    return rows


def _value(measured: Measured) -> str:
    return "–" if measured.value is None else f"{measured.value:.3f}"


def _interval(measured: Measured) -> str:
    return "" if measured.interval is None else f"[{measured.interval[0]:.2f}, {measured.interval[1]:.2f}]"


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.0f} s"
