"""Plots of what was measured, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.bench.figures import Records, floor_windows
from infra.bench.store import Record


def write_plots(records: Records, folder: Path) -> list[Path]:
    """One PNG for each kind of section that was measured; none without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    written = []
    curves = {name: record["curve"] for name, record in records.items() if "curve" in record}
    plots: tuple[tuple[str, Callable[[Any, Path], None], Any], ...] = (
        ("newcomers", _newcomers, curves),
        ("windows", _windows, floor_windows(records)),
        ("drift", _stream, records.get("drift")),
        ("rl", _rl, records.get("rl")),
    )
    for name, draw, given in plots:
        if given:
            path = folder / f"{name}.png"
            draw(given, path)
            written.append(path)
    return written


def _figure(rows: int = 1) -> tuple[Any, Any]:
    from matplotlib import pyplot

    return pyplot.subplots(rows, 1, figsize=(9, 3.2 * rows), squeeze=False, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _newcomers(curves: dict[str, Record], path: Path) -> None:
    figure, axes = _figure(len(curves))
    for (name, curve), axis in zip(curves.items(), axes[:, 0], strict=True):
        _speeds(axis, curve)
        axis.set_title(name.removeprefix("tenant-"))
    _save(figure, path)


def _stream(record: Record, path: Path) -> None:
    figure, axes = _figure()
    _speeds(axes[0, 0], record)
    axes[0, 0].set_title("traffic drifts from A to B and back to A")
    _save(figure, path)


def _speeds(axis: Any, record: Record) -> None:
    """Each arm's tokens per second over its own seconds, request by request."""
    for index, arm in enumerate(record["arms"]):
        axis.plot([lap["tokens"] / lap["seconds"][index] for lap in record["laps"]], label=arm, marker=".")
    axis.set_xlabel("request")
    axis.set_ylabel("tokens/s")
    axis.legend(fontsize=8)


def _windows(values: list[float], path: Path) -> None:
    figure, axes = _figure()
    axis = axes[0, 0]
    axis.plot(sorted(values), [(place + 1) / len(values) for place in range(len(values))], marker=".")
    axis.axvline(0.98, color="grey", linestyle="--", linewidth=1)
    axis.set_xlabel("adaptive ÷ floor in a window of 10 seconds")
    axis.set_ylabel("share of windows")
    _save(figure, path)


def _rl(record: Record, path: Path) -> None:
    figure, axes = _figure()
    axis = axes[0, 0]
    for index, arm in enumerate(record["arms"]):
        if arm != "plain":
            axis.plot([row[index] for row in record["acceptance_length_by_request"]], label=arm, marker=".")
    for place, at in enumerate(record["changes"]):
        axis.axvline(at - 0.5, color="grey", linestyle="--", linewidth=1, label=None if place else "new weights")
    drifting = [place for place, state in enumerate(record["relearning_by_request"]) if state]
    axis.scatter(drifting, [1.0] * len(drifting), marker="s", color="red", s=12, label="relearning")
    axis.set_xlabel("request")
    axis.set_ylabel("acceptance length")
    axis.legend(fontsize=8)
    _save(figure, path)
