"""`python -m infra.local up`: the whole service on this machine, until Ctrl-C (`make run`)."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from infra.local.demo import remember, wait_until_served
from infra.local.process import ServiceError
from infra.local.services import DEFAULT_MODEL, REPOSITORY, LocalServices, Options
from infra.local.state import State
from infra.local.supervisor import Supervisor


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 stopped on request, 1 something cannot run (one sentence on stderr says what)."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("command", choices=["up"])
    parser.add_argument("--port", type=int, default=_port("SLIPSTREAM_PORT", 8000), help="control plane and dashboard")
    parser.add_argument("--node-port", type=int, default=_port("SLIPSTREAM_NODE_PORT", 8100), help="inference")
    parser.add_argument("--var", type=Path, default=REPOSITORY / "var", help="folder of all state (default: var)")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="target model: a Hugging Face-layout folder")
    parser.add_argument("--static", type=Path, default=None, help="checkpoint folder of its static drafter")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the engine (default: all cores)")
    given = parser.parse_args(arguments)
    options = Options(
        port=given.port,
        node_port=given.node_port,
        model=given.model.resolve(),
        static=given.static and given.static.resolve(),
        threads=given.threads,
    )
    try:
        return _up(given.var, options)
    except ServiceError as error:
        print(f"\nmake run: {error}", file=sys.stderr)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"\nmake run: The disk is full: free some space for {given.var.resolve()}.", file=sys.stderr)
    return 1


def _up(var: Path, options: Options) -> int:
    stopping = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    started = time.monotonic()
    state = State(var)
    try:
        services = LocalServices(state, options)
        services.check()
        supervisor = Supervisor(services.all(), report=_report)
        _report("Starting Slipstream:")
        try:
            if supervisor.start(cancelled=lambda: stopping):
                demo = remember(state)
                if not wait_until_served(demo, options.inference_url, cancelled=lambda: stopping):
                    _report(f"  the demo endpoint is not served: see the dashboard, or {state.logs}")
                _report(_welcome(demo, state, options, time.monotonic() - started))
            while not stopping:
                supervisor.poll()
                time.sleep(0.2)
        finally:
            _report("\nStopping ...")
            supervisor.stop()
            _report("Stopped.")
    finally:
        state.close()
    return 0


def _welcome(demo: dict[str, Any], state: State, options: Options, seconds: float) -> str:
    demo = {"password": "(its password)", "management_key": "(a service key)", "api_key": "(an API key)"} | demo
    return f"""
Slipstream is running ({seconds:.0f} s).

  Dashboard        {options.control_plane_url}/
                   sign in as {demo["email"]} with {demo["password"]}
                   or create an account: mails (with their codes) are written to {state.folder / "mail"}
  Management API   {options.control_plane_url}/api/v1/   (docs: {options.control_plane_url}/api/v1/docs)
                   Authorization: Bearer {demo["management_key"]}
  Inference API    {options.inference_url}   (OpenAI-compatible)
                   API key {demo["api_key"]}

  curl {options.inference_url}/chat/completions \\
    -H 'Authorization: Bearer {demo["api_key"]}' -H 'Content-Type: application/json' \\
    -d '{{"model": "{demo["endpoint"]}", "messages": [{{"role": "user", "content": "What is speculative decoding?"}}]}}'

State and logs: {state.folder}. Ctrl-C stops everything; `make demo` in another terminal shows what it does."""


def _report(line: str) -> None:
    print(line, flush=True)


def _port(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else default


if __name__ == "__main__":
    sys.exit(main())
