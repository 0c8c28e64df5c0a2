"""`slipstream bench` (and `make bench`): every figure side by side, with the real model and this machine's peers.

Arms and peers take turns request by request or step by step, so that the machine's noise hits all of them alike; a
figure is a ratio of what ran side by side. Writes report.json, report.md and plots into var/bench, anew after every
section; --resume goes on with what an interrupted run has not measured yet.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.bench.figures import FIGURES
from infra.bench.peers.base import KINDS
from infra.bench.plan import NAMES, PlanError, Section, chosen_names, sections_of
from infra.bench.prompts import Collection, PromptsError, Workload, broad_prompts, demo_workloads, read_file

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MODEL = REPOSITORY / "var" / "models" / "smollm2-135m-instruct"
FULL_SECONDS, QUICK_SECONDS = 1500, 240
_LEARN, _HELDOUT = 48, 24  # requests of a tenant, at most


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured (whatever the figures), 1 could not run, 2 wrong usage."""
    given = parse(arguments)
    try:
        names = [name for name in given.workloads if name in NAMES]
        files = [Path(name) for name in given.workloads if name not in NAMES]
        if strange := [str(path) for path in files if not path.is_file()]:
            raise PlanError(f"neither a file nor a workload: {', '.join(strange)} (known: {', '.join(NAMES)})")
        chosen = chosen_names(names, given.figures, quick=given.quick) if names or not files or given.figures else []
        tenants, collections = _traffic(chosen, files)
        static = given.static or REPOSITORY / "dataplane" / "checkpoints" / f"{given.model.name}-eagle3"
        for folder, what in ((given.model, "model"), (static, "static drafter")):
            if not (folder / "config.json").exists():
                raise FileNotFoundError(f"there is no {what} in {folder}")
    except (PlanError, PromptsError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, PlanError) else 1
    peers = [] if given.peers == ["none"] else given.peers or ([] if given.quick else list(KINDS))
    sections = sections_of(chosen, tenants, collections, with_peers=bool(peers))
    return _measure(given, static, sections, tenants, collections, peers)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="slipstream bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="+", default=[], metavar="NAME|FILE", help=(
        f"built in: {', '.join(NAMES)}; or JSON Lines with `prompt` or `turns` (Spec-Bench, Arena-Hard and HumanEval "
        "are known by their layout; anything else is one tenant's traffic in its order)"))  # fmt: skip
    parser.add_argument("--peers", nargs="+", default=[], choices=[*KINDS, "none"], metavar="NAME", help=(
        f"{', '.join(KINDS)}; none. All by default, none with --quick"))  # fmt: skip
    parser.add_argument("--figures", nargs="+", default=[], metavar="KEY", help=(
        f"only what these need: {', '.join(figure.key for figure in FIGURES)}"))  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one tenant and few requests: a few minutes")
    parser.add_argument("--seconds", type=float, help=(
        f"time for all sections together (default {FULL_SECONDS}, quick {QUICK_SECONDS}); installing peers the first "
        "time and loading come on top"))  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of this commit has measured")
    parser.add_argument("--no-install", action="store_true", help="only peers that are installed already")
    parser.add_argument("--model", type=Path, default=MODEL, help="target model folder")
    parser.add_argument("--static", type=Path, help="checkpoint folder of its static drafter")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "var" / "bench", help="folder of the report")
    return parser.parse_args(arguments)


def _traffic(names: Sequence[str], files: Sequence[Path]) -> tuple[list[Workload], list[Collection]]:
    """Raises PromptsError, OSError."""
    read = [read_file(path, learn=_LEARN, heldout=_HELDOUT) for path in files]
    tenants = [one for one in demo_workloads(learn=_LEARN, heldout=_HELDOUT) if one.name in names]
    collections = [one for one in read if isinstance(one, Collection)]
    if "broad" in names and not any(one.name == "spec_bench" for one in collections):
        collections.insert(0, broad_prompts())
    return tenants + [one for one in read if isinstance(one, Workload)], collections


def _measure(
    given: argparse.Namespace,
    static: Path,
    sections: Sequence[Section],
    tenants: Sequence[Workload],
    collections: Sequence[Collection],
    peer_names: Sequence[str],
) -> int:
    from infra.bench.budget import Box, Clock
    from infra.bench.context import Context
    from infra.bench.learning import TrainingError
    from infra.bench.machine import Machine
    from infra.bench.peers.environment import interpreter
    from infra.bench.peers.process import PeerProcess, open_peers
    from infra.bench.plots import write_plots
    from infra.bench.report import print_figures, write_report
    from infra.bench.sections.tenant import delta_of, load
    from infra.bench.stage import Stage
    from infra.bench.store import Record, Store

    say, machine = Clock(), Machine.now(REPOSITORY)
    seconds = given.seconds or (QUICK_SECONDS if given.quick else FULL_SECONDS)
    settings = {"commit": machine.commit, "model": str(given.model), "static": str(static), "seconds": seconds,
                "quick": given.quick, "peers": list(peer_names)}  # fmt: skip
    store = Store(given.out, settings)
    if not given.resume:
        store.forget()
    say("loading the model, measuring the latency table")
    stage = Stage(given.model, static, threads=given.threads)
    say(f"forward passes in {stage.model.kernels}, {stage.threads} threads")
    needs_peers = [section for section in sections if section.name.startswith("tenant-")]
    context = Context(stage, given.out, tenants, collections, quick=given.quick)
    opened: list[PeerProcess] = []
    records: dict[str, Record] = {}
    failed: list[str] = []
    try:
        if any(store.read(section.name) is None for section in needs_peers):
            opened, reasons = open_peers(
                [KINDS[name] for name in peer_names],
                lambda kind: interpreter(kind, REPOSITORY, say, install=not given.no_install),
                _peer_settings(given.model, static, stage.threads),
                given.out / "peers",
                say,
            )
            context.peers, context.peer_reasons = opened, reasons
        everything = Box(seconds)
        for place, section in enumerate(sections):
            record = store.read(section.name)
            told = say.about(section.name)
            if record is None:
                share = section.weight / sum(later.weight for later in sections[place:])
                try:
                    record = section.run(context, everything.part(share), told)
                except TrainingError as error:
                    failed.append(section.name)
                    told(f"FAILED: {error}")
                    continue
                store.write(section.name, record)
            else:
                told("measured before")
                if (delta := delta_of(record)) is not None:
                    tenant = section.name.removeprefix("tenant-")
                    context.deltas[tenant] = delta
                    load(context, tenant)
            records[section.name] = record
            if section.name == (needs_peers[-1].name if needs_peers else ""):
                while opened:
                    opened.pop().close()  # their memory and their threads are not in the way of what follows
            write_report(
                records, machine, given.out, seconds=say.seconds, settings=settings, keys=given.figures or None
            )
    except KeyboardInterrupt:
        say("interrupted: what was measured is in the report; --resume goes on")
        failed.append("interrupted")
    finally:
        for peer in opened:
            peer.close()
        stage.close()
    print_figures(records, given.figures or None)
    if not records:
        return 1
    path = write_report(records, machine, given.out, seconds=say.seconds, settings=settings, keys=given.figures or None)
    plots = write_plots(records, given.out)
    print(f"Written: {path}, {path.with_suffix('.md').name}{''.join(f', {plot.name}' for plot in plots)}")
    return 1 if failed else 0


def _peer_settings(model: Path, static: Path, threads: int) -> dict[str, object]:
    """What a peer's process is told; `gguf` is the file that the model was converted from, if it is still there."""
    from dataplane.models.weights import WeightsError, packaged_gguf, sha256_of, verify_folder

    config = json.loads((model / "config.json").read_text())
    eos = config.get("eos_token_id")
    gguf = ""
    try:
        packaged = packaged_gguf()
        if verify_folder(model) == sha256_of(packaged):
            gguf = str(packaged)
    except (WeightsError, OSError):
        pass
    return {
        "model": str(model),
        "static": str(static),
        "gguf": gguf,
        "scratch": str(REPOSITORY / "var" / "peers" / "models"),
        "threads": min(threads, os.cpu_count() or 1),
        "eos": eos if isinstance(eos, list) else [] if eos is None else [eos],
    }


if __name__ == "__main__":
    sys.exit(main())
