"""`make demo`: three tenants play their traffic, and each endpoint gets faster on its own.

1. Over the management API, each tenant gets a project, a key, an endpoint, and consents to training.
2. Its traffic arrives (adaptive mode). The node logs it, the control plane schedules a training run, the gate decides
   on held-out traffic, the version is promoted, the node swaps it in.
3. Held-out requests, which nobody has seen, run in the modes off, static and adaptive by turns: same text, other speed.

Everything goes through the public interfaces: HTTP for management, the `openai` package for inference.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.demo.errors import DemoError
from infra.demo.report import MODES, Adaptation, TenantResult, print_table, write_report
from infra.demo.service import REPOSITORY, Management, Service, running_service
from infra.demo.turns import Tenant, Turn, acceptance_length, speed
from infra.demo.workloads import TENANTS, requests
from infra.demo.workloads import Tenant as Workload

_READY_SECONDS = 60.0
_RUN_APPEARS_SECONDS = 120.0
_RUN_SECONDS = 600.0
_SWAP_SECONDS = 60.0
_FINISHED = ("succeeded", "rejected", "skipped", "failed", "cancelled")


@dataclass(slots=True)
class Play:
    """One tenant on stage."""

    workload: Workload
    tenant: Tenant
    project_id: str
    learning: list[Turn] = field(default_factory=list)
    heldout: list[Turn] = field(default_factory=list)
    learning_began: float = 0.0
    learning_ended: float = 0.0
    adaptation: Adaptation | None = None
    shown: tuple[Any, ...] = ()


class Demo:
    def __init__(self, service: Service, *, num_learning: int, num_heldout: int) -> None:
        self._service = service
        self._management = Management(service)
        self._num_learning = num_learning
        self._num_heldout = num_heldout
        self._began = time.monotonic()

    def run(self, workloads: Sequence[Workload]) -> list[TenantResult]:
        plays = [self._set_up(workload) for workload in workloads]
        for play in plays:
            self._learn(play)
        for play in plays:
            self._await_adaptation(play)
        for play in plays:
            self._measure(play)
        return [
            TenantResult(play.workload.name, play.workload.title, tuple(play.learning), tuple(play.heldout), done)
            for play in plays
            if (done := play.adaptation) is not None
        ]

    def _set_up(self, workload: Workload) -> Play:
        project_id = self._management.create_project(f"{workload.name} {time.strftime('%Y-%m-%d %H:%M:%S')}")
        key = self._management.create_api_key(project_id)
        self._management.create_endpoint(project_id, workload.name)
        self._management.consent_to_training(project_id)
        tenant = Tenant(
            inference_url=self._service.inference_url,
            api_key=key,
            endpoint=workload.name,
            max_tokens=workload.max_tokens,
            began=self._began,
        )
        deadline = time.monotonic() + _READY_SECONDS
        while not tenant.is_served():
            if time.monotonic() > deadline:
                raise DemoError(f"No node serves {workload.name} after {_READY_SECONDS:.0f} s.")
            time.sleep(0.5)
        self._say(f"{workload.name}: project {project_id}, endpoint ready, consent given")
        return Play(workload, tenant, project_id)

    def _learn(self, play: Play) -> None:
        play.learning_began = self._now()
        batch = requests(play.workload, "learn", self._num_learning)
        for count, messages in enumerate(batch, start=1):
            play.learning.append(play.tenant.ask(messages, "adaptive", store=True))
            if count % 10 == 0 or count == len(batch):
                recent = play.learning[-10:]
                self._say(
                    f"{play.workload.name}: {count}/{len(batch)} requests, "
                    f"{speed(recent):.0f} tokens/s, acceptance length {acceptance_length(recent):.2f}"
                )
        play.learning_ended = self._now()

    def _await_adaptation(self, play: Play) -> None:
        run = self._await_run(play)
        if isinstance(run, str):
            play.adaptation = Adaptation("none", run, None, None, None)
        else:
            version = run["speculator_version_id"]
            swapped_at = self._await_swap(play, version) if version else None
            play.adaptation = Adaptation(
                outcome=run["state"],
                reason=(run["gate"] or {}).get("reason") or run["state_reason"]["message"],
                speculator_version=version,
                swapped_at=swapped_at,
                seconds_to_adapt=None if swapped_at is None else swapped_at - play.learning_began,
            )
        swap = (
            "" if play.adaptation.swapped_at is None else f"; the node drafts with {play.adaptation.speculator_version}"
        )
        self._say(f"{play.workload.name}: {play.adaptation.outcome}: {play.adaptation.reason}{swap}")

    def _await_run(self, play: Play) -> dict[str, Any] | str:
        """The training run that ended (a successful one before others), or why there is none."""
        ends_by = self._now() + _RUN_SECONDS
        while True:
            runs = self._management.training_runs(play.project_id)
            self._show(play, runs)
            if runs and all(run["state"] in _FINISHED for run in runs):
                return next((run for run in runs if run["state"] == "succeeded"), runs[0])
            if not runs and self._now() > play.learning_ended + _RUN_APPEARS_SECONDS:
                return f"no training run was scheduled within {_RUN_APPEARS_SECONDS:.0f} s"
            if self._now() > ends_by:
                return f"the training run did not end within {_RUN_SECONDS:.0f} s"
            time.sleep(2.0)

    def _await_swap(self, play: Play, version: str) -> float | None:
        """When the node first answered with the new version."""
        probe = requests(play.workload, "learn", 1, seed=1)[0]
        deadline = time.monotonic() + _SWAP_SECONDS
        while time.monotonic() < deadline:
            if play.tenant.ask(probe, "adaptive", store=False, max_tokens=16).speculator_version == version:
                return self._now()
            time.sleep(1.0)
        return None

    def _measure(self, play: Play) -> None:
        """Each held-out request in all modes, in an order that rotates, so that noise of the machine hits all alike."""
        for index, messages in enumerate(requests(play.workload, "heldout", self._num_heldout)):
            turn = index % len(MODES)
            for mode in MODES[turn:] + MODES[:turn]:
                play.heldout.append(play.tenant.ask(messages, mode, store=False))
        speeds = ", ".join(f"{mode} {speed(t for t in play.heldout if t.mode == mode):.0f}" for mode in MODES)
        self._say(f"{play.workload.name}: {self._num_heldout} held-out requests, tokens/s: {speeds}")

    def _show(self, play: Play, runs: list[dict[str, Any]]) -> None:
        if not runs:
            return
        run = runs[0]
        now = (run["id"], run["state"], run["phase"], int(4 * (run["progress"] or 0)))
        if now != play.shown:
            play.shown = now
            loss = "" if run["loss"] is None else f", loss {run['loss']:.3f}"
            self._say(f"{play.workload.name}: training run {run['state']} {run['phase']} {run['progress']:.0%}{loss}")

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _say(self, line: str) -> None:
        print(f"[{self._now():5.0f} s] {line}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tenants", nargs="+", choices=[tenant.name for tenant in TENANTS], help="default: all three")
    parser.add_argument("--learning", type=int, default=60, help="requests that each tenant sends to learn from (60)")
    parser.add_argument("--heldout", type=int, default=9, help="held-out requests of each tenant, in three modes (9)")
    parser.add_argument("--var", type=Path, default=REPOSITORY / "var", help="folder of the service's state")
    given = parser.parse_args(arguments)
    chosen = [tenant for tenant in TENANTS if not given.tenants or tenant.name in given.tenants]
    try:
        with running_service(given.var, print) as service:
            began = time.monotonic()
            demo = Demo(service, num_learning=given.learning, num_heldout=given.heldout)
            results = demo.run(chosen)
            print_table(results)
            for path in write_report(results, given.var / "demo", seconds=time.monotonic() - began):
                print(f"Written: {path}")
    except DemoError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake demo: stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
