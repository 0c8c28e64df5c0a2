"""Which sections a run has, in which order, and how much of its time each may take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.figures import FIGURES
from infra.bench.prompts import Collection, Workload
from infra.bench.store import Record

TENANTS = ("support-desk", "sql-assistant", "code-review")
STREAMS = ("drift", "creative", "mixed", "switching", "zipf")
NAMES = (*TENANTS, "broad", *STREAMS, "fixed", "ablation", "rl", "rows")  # what --workloads knows beside files
_QUICK = ("support-desk", "broad", "drift", "creative", "fixed", "rows")


class PlanError(ValueError):
    """A workload or figure that nobody knows."""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    weight: float  # of the time, relative to the others
    run: Callable[[Context, Box, Report], Record]


def chosen_names(names: Sequence[str], figures: Sequence[str], *, quick: bool) -> list[str]:
    """Sections by name. Without names: those that the figures need, or all (a few, if quick). Raises PlanError."""
    for name in names:
        if name not in NAMES:
            raise PlanError(f"no workload {name!r}: a file, or one of {', '.join(NAMES)}")
    by_key = {figure.key: figure for figure in FIGURES}
    for key in figures:
        if key not in by_key:
            raise PlanError(f"no figure {key!r}: one of {', '.join(by_key)}")
    if names:
        return [name for name in NAMES if name in names]
    if figures:
        needed = {part for key in figures for part in by_key[key].sections}
        tenants = TENANTS[:1] if quick else TENANTS
        return [name for name in NAMES if name in needed or (name in tenants and "tenant" in needed)]
    return [name for name in NAMES if not quick or name in _QUICK]


def sections_of(
    names: Sequence[str], tenants: Sequence[Workload], collections: Sequence[Collection], *, with_peers: bool
) -> list[Section]:
    """In the order in which they run: tenants first, because their trained versions serve the streams."""
    from infra.bench.sections import ablation, broad, fixed, rl, rows, streams, tenant

    def of_tenant(workload: Workload) -> Callable[[Context, Box, Report], Record]:
        return lambda context, box, report: tenant.run(context, workload, box, report)

    def of_collection(collection: Collection) -> Callable[[Context, Box, Report], Record]:
        return lambda context, box, report: broad.run(context, collection, box, report)

    def of_stream(name: str) -> Callable[[Context, Box, Report], Record]:
        return lambda context, box, report: streams.run(name, context, box, report)

    found = [Section("rows", 1, rows.run)] if "rows" in names else []
    found += [Section(f"tenant-{one.name}", 17 if with_peers else 12, of_tenant(one)) for one in tenants]
    found += [Section(f"broad-{one.name}", 9, of_collection(one)) for one in collections]
    weights = {"drift": 9, "creative": 6, "mixed": 5, "switching": 4, "zipf": 4}
    found += [Section(name, weights[name], of_stream(name)) for name in STREAMS if name in names]
    found += [Section("fixed", 9, fixed.run)] if "fixed" in names else []
    known = [one for one in tenants if one.name in TENANTS]
    if "ablation" in names and known:
        found.append(Section("ablation", 5, lambda context, box, report: ablation.run(context, known[0], box, report)))
    return found + ([Section("rl", 7, rl.run)] if "rl" in names else [])
