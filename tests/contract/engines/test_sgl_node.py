"""A node with `--engine sglang`, over real HTTP: it meters, logs by consent, outlives SGLang; its traffic trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataplane.contracts import (
    EndpointConfig,
    KeyDigest,
    ProjectConfig,
    Snapshot,
    TrafficPolicy,
    UsageEvent,
    to_dict,
)
from dataplane.server.admission import Pepper
from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.speculation.drafters.delta import load_delta
from dataplane.traffic.spool import UsageSpool
from tests.contract.engines.learning import DELTA, train
from tests.contract.engines.worlds import CPU_ARGUMENTS, ROOT
from tests.dataplane.training.tiny_target import WORDS

KEY = f"sls_test_{'a' * 12}_{'b' * 38}"
HEADERS = {"authorization": f"Bearer {KEY}"}
START_SECONDS = 900


@dataclass
class RunningNode:
    process: subprocess.Popen[str]
    url: str
    state: Path

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=HEADERS, timeout=120, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, trust_env=False)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


def scheduler_of(node: RunningNode) -> int:
    """The process in which SGLang serves the target: it names itself so."""
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    for child in (pid for file in children for pid in file.read_text().split()):
        if Path(f"/proc/{child}/comm").read_text().startswith("sglang::schedul"):
            return int(child)
    raise AssertionError("the node has no scheduler process")


def start(folder: Path, target: Path, static: Path) -> RunningNode:
    """A node over a state folder that may have been another's before; returns once it is ready."""
    command = [
        *(sys.executable, "-m", "dataplane", "--engine", "sglang", "--engine-args", json.dumps(dict(CPU_ARGUMENTS))),
        *("--model", str(target), "--static", str(static), "--port", "0", "--max-context", "256", "--num-slots", "4"),
        *("--state-dir", str(folder / "state"), "--snapshot", str(folder / "snapshot.json"), "--grace-seconds", "1"),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "SLIPSTREAM_KEY_PEPPER": "pepper"}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url, output, deadline = "", [], time.monotonic() + START_SECONDS
    for line in process.stdout:
        output.append(line)
        url = line.split("listening on ")[1].strip() if "listening on" in line else url
        if "ready:" in line or time.monotonic() > deadline:
            break
    assert url, f"the node ended with {process.poll()}: {''.join(output)}"
    return RunningNode(process, url, folder / "state")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, target: Path) -> Path:
    """A snapshot to serve from, and the state of the nodes that do."""
    folder = tmp_path_factory.mktemp("node")
    project = ProjectConfig("prj_1", "org_1", "salt", TrafficPolicy(capture=True))
    key = KeyDigest("key_1", "prj_1", Pepper("pepper", "1").digest(KEY), "1")
    endpoint = EndpointConfig("ep_1", "prj_1", "dep_1", "assistant", target.name, holdout_rate=0.0)
    snapshot = Snapshot("node_1", 1, "2026-01-01T00:00:00Z", (project,), (key,), (endpoint,))
    (folder / "snapshot.json").write_text(json.dumps(to_dict(snapshot)))
    return folder


@pytest.fixture(scope="module")
def node(folder: Path, target: Path, static: Path) -> Iterator[RunningNode]:
    running = start(folder, target, static)
    yield running
    running.stop()


def usage(node: RunningNode) -> list[UsageEvent]:
    """Of every node that has run over this state."""
    spool, events, seen = UsageSpool(node.state / "usage", "reader"), [], dict[str, int]()
    while batch := spool.unacknowledged(1000, after=seen):
        events += [entry.event for entry in batch]
        seen[batch[-1].boot_id] = batch[-1].seq
    return events


def test_a_node_serves_meters_and_shows_nothing_of_sglangs_own_api(node: RunningNode) -> None:
    texts: dict[str, set[str]] = {}
    for number in range(30):
        prompt = f"write {WORDS[number % 3]} {WORDS[3 + number % 2]}"
        mode = "off" if number % 5 == 4 else "adaptive"
        answer = node.post(
            "/v1/completions",
            model="assistant",
            prompt=prompt,
            max_tokens=40,
            temperature=0,
            speculation={"mode": mode},
        )
        assert answer.status_code == 200, answer.text
        texts.setdefault(prompt, set()).add(answer.json()["choices"][0]["text"])
    assert all(len(found) == 1 for found in texts.values())  # whoever drafted
    wanted = {"model": "assistant", "prompt": "write red dog", "max_tokens": 40, "temperature": 0}
    last = node.post("/v1/completions", **wanted, speculation={"mode": "adaptive"}).json()
    assert last["metrics"]["speculative_decoding"]["acceptance_length"] > 1.5  # the tenant memory has learned
    metrics = node.get("/metrics").text
    assert "vllm:spec_decode_num_accepted_tokens_total" in metrics
    assert 'project="prj_1"' in metrics
    for path in ("/generate", "/update_weights_from_tensor", "/pause_generation", "/get_model_info", "/flush_cache"):
        assert node.post(path).status_code == 404  # nothing of SGLang's own API is reachable
    custom = node.post("/v1/completions", model="assistant", prompt="a", custom_params={"slipstream": {}})
    assert custom.status_code in (200, 400)
    refused = httpx.post(f"{node.url}/v1/completions", json={"model": "assistant", "prompt": "a"}, trust_env=False)
    assert refused.status_code == 401

    events = usage(node)
    assert len([event for event in events if event.status == "completed"]) >= 31
    assert all(event.project_id == "prj_1" for event in events)


def test_clients_hear_of_a_scheduler_that_dies_and_a_restarted_node_serves_on(
    node: RunningNode, folder: Path, target: Path, static: Path
) -> None:
    wanted = {"model": "assistant", "prompt": "write red dog", "temperature": 0}
    text = node.post("/v1/completions", **wanted, max_tokens=40).json()["choices"][0]["text"]
    long = {**wanted, "max_tokens": 200, "stream": True, "ignore_eos": True}
    stream = httpx.stream("POST", f"{node.url}/v1/completions", json=long, headers=HEADERS, timeout=60, trust_env=False)
    with stream as response:
        lines = response.iter_lines()
        next(lines)
        os.kill(scheduler_of(node), signal.SIGKILL)
        rest = list(lines)
    assert any('"engine_error"' in line for line in rest), rest
    assert node.process.wait(60) == 1  # its supervisor starts another one
    assert node.process.stdout is not None
    assert [line.split("node: ")[1].strip() for line in node.process.stdout] == ["the engine has died", "stopped"]
    before = usage(node)
    assert [event.status for event in before].count("engine_error") == 1

    restarted = start(folder, target, static)
    try:
        assert restarted.get("/readyz").status_code == 200
        assert restarted.post("/v1/completions", **wanted, max_tokens=40).json()["choices"][0]["text"] == text
    finally:
        assert restarted.stop() == 0
    events = usage(restarted)
    assert len(events) == len(before) + 1
    assert {event.event_id for event in before} < {event.event_id for event in events}


def test_traffic_of_the_nodes_before_and_after_trains_a_delta(
    node: RunningNode, target: Path, static: Path, tmp_path: Path
) -> None:
    segments = list((node.state / "traffic" / "ready").glob("*.zst"))
    assert segments
    report = train(segments, "prj_1", target, static, tmp_path)
    assert report.num_train_records > 0
    load_delta(tmp_path / DELTA, load_checkpoint(static))
