"""The demo's results: the table, `report.json`, and the plot that tells the story."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from infra.demo.turns import Mode, Turn, acceptance_length, speed

_BLUE, _ORANGE = "#0b7285", "#e8590c"
MODES: tuple[Mode, ...] = ("off", "static", "adaptive")


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How learning ended. Times are seconds since the demo began."""

    outcome: str  # a training run's last state, or "none"
    reason: str
    speculator_version: str | None
    swapped_at: float | None
    seconds_to_adapt: float | None  # from the tenant's first request to the swap on the node


@dataclass(frozen=True, slots=True)
class TenantResult:
    name: str
    title: str
    learning: tuple[Turn, ...]  # adaptive, in the order of arrival
    heldout: tuple[Turn, ...]  # each request once per mode
    adaptation: Adaptation

    def of(self, mode: Mode) -> list[Turn]:
        return [turn for turn in self.heldout if turn.mode == mode]

    @property
    def num_identical(self) -> int:
        """Held-out requests with the same greedy text in all modes."""
        return sum(len(set(texts)) == 1 for texts in zip(*(self._texts(mode) for mode in MODES), strict=True))

    def _texts(self, mode: Mode) -> list[str]:
        return [turn.text for turn in self.of(mode)]

    def summary(self) -> dict[str, Any]:
        speeds = {mode: speed(self.of(mode)) for mode in MODES}
        return {
            "tenant": self.name,
            "requests_learned_from": len(self.learning),
            "tokens_per_second": speeds,
            "adaptive_over_plain": speeds["adaptive"] / speeds["off"],
            "adaptive_over_static": speeds["adaptive"] / speeds["static"],
            "static_over_plain": speeds["static"] / speeds["off"],
            "acceptance_length": {mode: acceptance_length(self.of(mode)) for mode in MODES},
            "outcome": self.adaptation.outcome,
            "reason": self.adaptation.reason,
            "speculator_version": self.adaptation.speculator_version,
            "seconds_to_adapt": self.adaptation.seconds_to_adapt,
            "heldout_requests": len(self.of("off")),
            "identical_outputs": self.num_identical,
        }


def print_table(results: Sequence[TenantResult]) -> None:
    """Held-out requests: plain, static, adapted."""
    header = (
        "tenant",
        "plain",
        "static",
        "adapted",
        "accept. len.",
        "learned from",
        "time to adapt",
        "identical",
        "gate",
    )
    rows: list[tuple[str, ...]] = [header]
    for result in results:
        summary = result.summary()
        speeds, lengths = summary["tokens_per_second"], summary["acceptance_length"]
        took = summary["seconds_to_adapt"]
        rows.append(
            (
                result.name,
                f"{speeds['off']:.1f}",
                f"{speeds['static']:.1f} ({summary['static_over_plain']:.2f}x)",
                f"{speeds['adaptive']:.1f} ({summary['adaptive_over_plain']:.2f}x)",
                f"{lengths['static']:.2f} -> {lengths['adaptive']:.2f}",
                f"{summary['requests_learned_from']} requests",
                "not adapted" if took is None else f"{took:.0f} s",
                f"{summary['identical_outputs']}/{summary['heldout_requests']}",
                summary["outcome"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    print("\nHeld-out requests, tokens/s (median) in the modes off, static and adaptive:\n")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for result in results:
        if result.adaptation.outcome != "succeeded":
            print(f"{result.name} did not adapt: {result.adaptation.outcome}: {result.adaptation.reason}")


def write_report(results: Sequence[TenantResult], folder: Path, *, seconds: float) -> list[Path]:
    """Write report.json and plot.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": seconds,
        "machine": {"platform": platform.platform(), "processor": platform.machine()},
        "tenants": [result.summary() for result in results],
        "turns": {
            result.name: {
                "learning": [dataclasses.asdict(turn) for turn in result.learning],
                "heldout": [dataclasses.asdict(turn) for turn in result.heldout],
            }
            for result in results
        },
    }
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False))
    return [path, _plot(results, folder / "plot.png")]


def _plot(results: Sequence[TenantResult], path: Path) -> Path:
    """One panel per tenant: adaptive requests in their order, first those learned from, then held-out ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4 * len(results)), layout="constrained")
    axes = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for axis, result in zip(axes, results, strict=True):
        turns = [*result.learning, *result.of("adaptive")]
        swap = len(result.learning) + 0.5
        speeds = [turn.tokens_per_second for turn in turns]
        lengths = [turn.acceptance_length for turn in turns]
        x = range(1, len(turns) + 1)
        right = axis.twinx()
        right.plot(x, lengths, ".", ms=4, color=_ORANGE, alpha=0.3)
        right.plot(x, _smooth(lengths, swap), lw=1.6, color=_ORANGE, label="acceptance length")
        right.set_ylim(bottom=1)
        right.set_ylabel("acceptance length", color=_ORANGE)
        axis.plot(x, speeds, ".", ms=4, color=_BLUE, alpha=0.3)
        axis.plot(x, _smooth(speeds, swap), lw=1.6, color=_BLUE, label="tokens/s")
        for mode, style, label in (("off", ":", "plain (held-out)"), ("static", "--", "static (held-out)")):
            axis.axhline(speed(result.of(mode)), ls=style, color="#868e96", lw=1.2, label=label)
        axis.set_ylim(bottom=0)
        axis.set_ylabel("tokens/s", color=_BLUE)
        axis.set_title(result.title, loc="left", fontsize=11)
        axis.axvline(swap, color="#2b8a3e", lw=1.5)
        swapped = result.adaptation.swapped_at is not None
        marker = "new version; held-out requests" if swapped else f"{result.adaptation.outcome}; held-out requests"
        place = (swap + 0.3, 0.98)
        axis.annotate(marker, place, xycoords=("data", "axes fraction"), rotation=90, va="top", fontsize=8)
        lines = [*axis.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
        names = [str(line.get_label()) for line in lines]
        axis.legend(lines, names, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False)
    axes[-1].set_xlabel("request")
    figure.savefig(path, dpi=120)
    return path


def _smooth(values: Sequence[float], swap: float) -> list[float]:
    """Running median over at most nine requests, never across the swap."""
    cut = int(swap)
    smoothed = []
    for index in range(len(values)):
        first, last = (0, cut) if index < cut else (cut, len(values))
        smoothed.append(median(values[max(first, index - 4) : min(last, index + 5)]))
    return smoothed
