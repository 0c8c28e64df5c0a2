"""The figures that the benchmark is about: their keys, what they have to reach, and how they follow from the records.

Records are JSON, so that a figure can be computed again from a report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from infra.bench.statistics import interval_record, paired_ratio, windows
from infra.bench.store import Record

Records = Mapping[str, Record]  # by section
_ALLOWED = 0.98  # of the floor, in a window


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure. `value` None: not measured (or not reached within what ran); `note` says why or of what."""

    value: float | None
    note: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    key: str
    title: str
    target: float
    anchor: str
    measure: Callable[[Records], Measured]
    sections: tuple[str, ...]  # that it needs; "tenant" and "broad" stand for all of them
    is_at_most: bool = False

    def verdict(self, measured: Measured) -> str:
        if measured.value is None:
            return "not measured"
        reached = measured.value <= self.target if self.is_at_most else measured.value >= self.target
        return "reached" if reached else "MISSED"


def measure_all(records: Records, keys: Sequence[str] | None = None) -> dict[str, Measured]:
    """By key; all figures, or those of `keys`."""
    return {figure.key: figure.measure(records) for figure in FIGURES if keys is None or figure.key in keys}


def _tenants(records: Records) -> list[Record]:
    return [record for name, record in records.items() if name.startswith("tenant-")]


def _median_of_tenants(part: str, above: str, below: str) -> Callable[[Records], Measured]:
    """The median over tenants of the median over requests of the paired ratio."""

    def measure(records: Records) -> Measured:
        values = []
        for record in _tenants(records):
            speeds = [
                (one["modes"][above]["tokens_per_second"], one["modes"][below]["tokens_per_second"])
                for one in record[part]
            ]
            values.append(paired_ratio([one for one, _ in speeds], [one for _, one in speeds]))
        if not values:
            return Measured(None)
        middle = sorted(values, key=lambda one: one.value)[len(values) // 2]
        interval = (middle.low, middle.high) if len(values) % 2 else None
        shown = ", ".join(f"{one.value:.2f}" for one in values)
        return Measured(median(one.value for one in values), f"tenants {shown}", interval)

    return measure


def _ratio(section: str, key: str, note: str = "") -> Callable[[Records], Measured]:
    def measure(records: Records) -> Measured:
        ratio = records.get(section, {}).get(key)
        if ratio is None:
            return Measured(None)
        return Measured(ratio["value"], note or f"{ratio['count']} requests", (ratio["low"], ratio["high"]))

    return measure


def _specbench(records: Records) -> Measured:
    if "broad-spec_bench" in records:
        record = records["broad-spec_bench"]
        measured = _ratio("broad-spec_bench", "static_over_plain")(records)
        return Measured(measured.value, f"{record['prompts']} of {record['of']} prompts", measured.interval)
    built_in = records.get("broad-broad", {}).get("static_over_plain")
    instead = f"; built-in broad prompts: {built_in['value']:.2f}" if built_in else ""
    return Measured(None, f"needs Spec-Bench: --workloads question.jsonl{instead}")


def _requests(key: str) -> Callable[[Records], Measured]:
    def measure(records: Records) -> Measured:
        curves = [record["curve"] for record in _tenants(records) if "curve" in record]
        counts = [curve[key] for curve in curves]
        if not counts:
            return Measured(None)
        shown = ", ".join(
            f"more than {len(curve['laps'])}" if curve[key] is None else str(curve[key]) for curve in curves
        )
        known = sorted(float("inf") if count is None else float(count) for count in counts)
        middle = known[len(known) // 2]
        return Measured(None if middle == float("inf") else middle, f"tenants {shown}")

    return measure


def floor_windows(records: Records, arm: str = "adaptive", floor: str | None = None) -> list[float]:
    """The arm's speed over the floor's in each 10-second window of the floor's clock.

    The streams follow each other: the next one fills up the window that one leaves, so that short ones count too. The
    floor of a stream is the better of plain and static over the whole of it, unless `floor` names another arm.
    """
    of_floor, of_arm = [(0, 0.0)], [(0, 0.0)]  # (tokens, seconds) at the ends of laps
    for record in (records.get(name, {}) for name in _STREAMS):
        arms: list[str] = record.get("arms", [])
        below = floor or record.get("floor")
        if arm not in arms or below not in arms:
            continue
        for lap in record["laps"]:
            for clock, name in ((of_floor, below), (of_arm, arm)):
                tokens, seconds = clock[-1]
                clock.append((tokens + lap["tokens"], seconds + lap["seconds"][arms.index(name)]))
    return [window.adaptive_over_static for window in windows(of_floor, of_arm)]


def floor_ratios(records: Records) -> dict[str, float]:
    """The adaptive arm's speed over the floor's, by stream."""
    return {
        name: float(records[name][f"adaptive_over_{records[name]['floor']}"]["value"])
        for name in _STREAMS
        if name in records
    }


def _floor(records: Records) -> Measured:
    values = floor_windows(records)
    if not values:
        return Measured(None)
    share = sum(value < _ALLOWED for value in values) / len(values)
    name, worst = min(floor_ratios(records).items(), key=lambda one: one[1])
    note = f"{len(values)} windows, worst {min(values):.3f}; worst stream {name} {worst:.3f}"
    if noise := floor_windows(records, "static again", "static"):
        alone = sum(value < _ALLOWED for value in noise) / len(noise)
        note += f"; the same arm twice: {alone:.3f} of {len(noise)}, worst {min(noise):.3f}"
    return Measured(share, note)


def _controller(records: Records) -> Measured:
    cells = records.get("fixed", {}).get("cells", {})
    if not cells:
        return Measured(None)

    def worst(key: str) -> tuple[str, Record]:
        found: tuple[str, Record] = min(cells.items(), key=lambda cell: float(cell[1][key]["value"]))
        return found

    name, cell = worst("adaptive_over_best")
    alone, other = worst("static_over_best")
    ratio = cell["adaptive_over_best"]
    note = f"{name}, best is {cell['best_fixed']}; static alone {other['static_over_best']['value']:.2f}, {alone}"
    return Measured(ratio["value"], note, (ratio["low"], ratio["high"]))


def _beside(records: Records) -> dict[str, list[float]]:
    """Speeds of ours and of every peer's mode, request by request, over all tenants; incomplete ones are left out."""
    speeds: dict[str, list[float]] = {}
    for record in _tenants(records):
        beside = record["beside_peers"]
        for name, values in beside["speeds"].items():
            speeds.setdefault(name, []).extend(float("nan") if value is None else value for value in values)
    longest = max(map(len, speeds.values()), default=0)
    return {name: values for name, values in speeds.items() if len(values) == longest and values == values}


def peer_ratios(records: Records) -> dict[str, dict[str, float]]:
    """Ours (adapted) over every peer's mode."""
    speeds = _beside(records)
    ours = speeds.pop("ours adapted", [])
    speeds.pop("ours plain", None)
    return {
        name: interval_record(paired_ratio(ours, values))
        for name, values in speeds.items()
        if all(value > 0 for value in values)
    }


def _best_peer(records: Records) -> Measured:
    ratios = {name: ratio for name, ratio in peer_ratios(records).items() if name.split(" ")[1].startswith("bf16-")}
    if not ratios:
        return Measured(None, "no peer ran")
    name, ratio = min(ratios.items(), key=lambda item: item[1]["value"])
    return Measured(ratio["value"], f"fastest: {name}", (ratio["low"], ratio["high"]))


def _llama_cpp(records: Records) -> Measured:
    speeds = _beside(records)
    if "llama.cpp bf16-plain" not in speeds:
        return Measured(None, "llama.cpp did not run")
    ratio = paired_ratio(speeds["ours plain"], speeds["llama.cpp bf16-plain"])
    return Measured(ratio.value, f"{ratio.count} requests", (ratio.low, ratio.high))


def _eight_rows(records: Records) -> Measured:
    ratio = records.get("rows", {}).get("over_one", {}).get("8")
    return Measured(None) if ratio is None else Measured(ratio["value"], "", (ratio["low"], ratio["high"]))


def _equal(records: Records) -> Measured:
    """Requests (or groups of them) whose tokens were the same in all modes."""
    same = total = 0
    for record in [*records.values(), *(record["curve"] for record in _tenants(records) if "curve" in record)]:
        if "equal_outputs" in record:
            same, total = same + record["equal_outputs"], total + len(record["laps"])
        for cell in record.get("cells", {}).values():
            same, total = same + cell["equal_outputs"], total + cell["laps"]
        for one in [*record.get("replay", ()), *record.get("heldout", ())]:
            same, total = same + one["equal"], total + 1
    return Measured(same / total if total else None, f"{same} of {total}")


def _control(records: Records) -> Measured:
    """Of adapted requests, held out and replayed."""
    control = steps = tokens = 0.0
    for record in _tenants(records):
        for one in [*record["replay"], *record["heldout"]]:
            stats: Mapping[str, Any] = one["modes"]["adaptive"]["stats"]
            control += stats["control_seconds"]
            steps += stats["control_seconds"] + stats["draft_seconds"] + stats["target_seconds"]
            tokens += one["modes"]["adaptive"]["tokens"]
    return Measured(control / steps, f"{1e6 * control / tokens:.0f} µs per token") if steps else Measured(None)


_STREAMS = ("drift", "creative", "mixed", "switching", "zipf")
FIGURES: tuple[Figure, ...] = (
    Figure("adapted_over_plain_replay", "adapted ÷ plain, replayed traffic, median of tenants", 2.65,
           "ATLAS's headline", _median_of_tenants("replay", "adaptive", "off"), ("tenant",)),
    Figure("adapted_over_plain_heldout", "adapted ÷ plain, held-out narrow tenants", 2.0,
           "SpecBundle 2.5 on math, larger targets", _median_of_tenants("heldout", "adaptive", "off"), ("tenant",)),
    Figure("adapted_over_static_heldout", "adapted ÷ static, held-out narrow tenants", 1.2,
           "", _median_of_tenants("heldout", "adaptive", "static"), ("tenant",)),
    Figure("static_over_plain_specbench", "static ÷ plain, Spec-Bench overall", 1.5,
           "Kimi-K2 static 1.8", _specbench, ("broad",)),
    Figure("adapted_over_static_drift", "adapted ÷ static under drift A→B→A, whole stream", 1.25,
           "Aurora", _ratio("drift", "adaptive_over_static"), ("drift",)),
    Figure("requests_to_half", "requests until half of the oracle gap is closed", 50,
           "Aurora ~10,000", _requests("requests_to_half"), ("tenant",), is_at_most=True),
    Figure("requests_to_90", "requests until 90 % of it is closed", 500,
           "Aurora ~10,000", _requests("requests_to_90"), ("tenant",), is_at_most=True),
    Figure("floor_violation_share", "share of 10-second windows below 0.98 × floor", 0.001,
           "none publishes it", _floor, _STREAMS, is_at_most=True),
    Figure("controller_over_best_fixed_min", "controller ÷ best fixed setting, worst workload", 1.0,
           "vLLM's adaptive verification", _controller, ("fixed",)),
    Figure("plain_over_llamacpp", "plain ÷ llama.cpp BF16 plain", 0.9,
           "memory bandwidth", _llama_cpp, ("tenant",)),
    Figure("adapted_over_best_peer", "adapted, held-out ÷ fastest peer and mode at the same precision", 1.5,
           "llama.cpp plain", _best_peer, ("tenant",)),
    Figure("eight_rows_over_one", "time of 8 rows ÷ time of 1 row", 1.4,
           "llama.cpp 3.0", _eight_rows, ("rows",), is_at_most=True),
    Figure("adaptive_over_plain_creative", "adaptive ÷ plain, creative chat at temperature 1", 1.0,
           "TIDE's static falls to 0.7", _ratio("creative", "adaptive_over_plain"), ("creative",)),
    Figure("greedy_equal_share", "share of outputs equal in all modes", 1.0, "", _equal, ("tenant",)),
    Figure("control_overhead_share", "memory and controller, share of a step", 0.02, "", _control, ("tenant",),
           is_at_most=True),
)  # fmt: skip
