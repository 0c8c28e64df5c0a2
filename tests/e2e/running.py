"""A running Slipstream, started by the code behind `make run`, as its clients see it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import psycopg

from infra.local.demo import remember, wait_until_served
from infra.local.postgres import DATABASE, SUPERUSER
from infra.local.process import free_ports
from infra.local.services import REPOSITORY, LocalServices, Options
from infra.local.state import State
from infra.local.supervisor import Supervisor

T = TypeVar("T")

# A small learning loop: the gate lets every trained version pass (its judgement has tests of its own).
SETTINGS = {
    "SLIPSTREAM_TRAINING_MIN_RECORDS": "16",
    "SLIPSTREAM_TRAINING_MAX_RECORDS": "24",
    "SLIPSTREAM_TRAINING_HELDOUT_RECORDS": "4",
    "SLIPSTREAM_TRAINING_LEASE_SECONDS": "6",
    "SLIPSTREAM_GATE_MIN_GAIN": "-0.9",
    "SLIPSTREAM_GATE_MIN_HELDOUT_RECORDS": "1",
    "SLIPSTREAM_TRAFFIC_ROLL_SECONDS": "2",
    "SLIPSTREAM_NODE_LOST_SECONDS": "6",
}
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Running:
    """Handles of the service. Processes are named as in `infra.local.services`."""

    supervisor: Supervisor
    services: LocalServices
    state: State
    options: Options
    demo: Mapping[str, Any]

    def management(self, key: str | None = None) -> httpx.Client:
        """A client of the management API, by default with the demo organization's key."""
        return httpx.Client(
            base_url=f"{self.options.control_plane_url}/api/v1",
            headers={"Authorization": f"Bearer {key or self.demo['management_key']}"},
            timeout=30.0,
            trust_env=False,
        )

    @contextmanager
    def operator(self) -> Iterator[httpx.Client]:
        """The management API as a signed-in person who operates the service; service keys can't."""
        with httpx.Client(base_url=self.options.control_plane_url, timeout=30.0, trust_env=False) as browser:
            browser.get("/sign-in")
            form = {"login": self.demo["email"], "password": self.demo["password"]}
            entered = browser.post("/sign-in", data=form | {"csrfmiddlewaretoken": browser.cookies["csrftoken"]})
            assert entered.status_code == 302, entered.text
            browser.base_url = browser.base_url.join("/api/v1/")
            yield browser

    def inference(self, key: str | None = None) -> openai.OpenAI:
        """The official client, by default with the demo project's key; it never retries."""
        return openai.OpenAI(
            base_url=self.options.inference_url,
            api_key=key or str(self.demo["api_key"]),
            max_retries=0,
            timeout=300.0,
            http_client=httpx.Client(trust_env=False),
        )

    def ask(self, text: str, *, max_tokens: int = 16, **options: Any) -> Any:
        """One greedy chat completion of the demo endpoint; the raw response, whose `parse()` is the completion."""
        with self.inference() as client:
            return client.chat.completions.with_raw_response.create(
                model=str(self.demo["endpoint"]),
                messages=[{"role": "user", "content": text}],
                max_tokens=max_tokens,
                temperature=0,
                **options,
            )

    def usage_by_request(self) -> dict[str, list[dict[str, Any]]]:
        """Every usage event that reached Postgres, by request id; past row-level security."""
        assert self.services.postgres is not None
        with (
            psycopg.connect(self.services.postgres.url_for(SUPERUSER, DATABASE)) as connection,
            connection.cursor(row_factory=psycopg.rows.dict_row) as cursor,
        ):
            found: dict[str, list[dict[str, Any]]] = {}
            for row in cursor.execute("SELECT * FROM billing_usageevent"):
                found.setdefault(row["request_id"], []).append(row)
        return found

    def kill(self, name: str) -> None:
        """SIGKILL; the process stays dead until `start`."""
        self.supervisor.stop_one(name, kill=True)

    def start(self, name: str) -> None:
        self.supervisor.start_one(name)
        self.supervisor.wait_for(name, timeout_seconds=300.0)


def clean_environment() -> dict[str, str]:
    """This process's environment without the addresses and secrets that tests/conftest.py sets."""
    code = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'kernels'}"
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"PYTHONPATH": code}


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """The whole service on ports of its own, with its state under `folder`."""
    port, node_port = free_ports(2)
    options = Options(port=port, node_port=node_port)
    state = State(folder)
    try:
        services = LocalServices(state, options, environment=clean_environment() | SETTINGS)
        services.check()
        supervisor = Supervisor(services.all())
        try:
            supervisor.start(timeout_seconds=600)
            demo = remember(state)
            assert wait_until_served(demo, options.inference_url, timeout_seconds=120.0)
            yield Running(supervisor, services, state, options, demo)
        finally:
            supervisor.stop()
    finally:
        state.close()


def eventually(probe: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """The first true result of `probe`."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)
