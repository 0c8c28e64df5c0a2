"""A real node: its own process, the real model, the official client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import openai
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
from dataplane.traffic.spool import UsageSpool

pytestmark = pytest.mark.real_model

KEY = f"sls_test_{'a' * 12}_{'b' * 38}"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
ENVIRONMENT["PYTHONPATH"] = f"{ROOT}:{ROOT / 'kernels'}"
COLOURS = [{"role": "user", "content": "List three colours, one per line."}]
START_SECONDS = 180.0


@dataclass
class RunningNode:
    process: subprocess.Popen[str]
    url: str
    state: Path
    output: list[str]

    def client(self) -> openai.OpenAI:
        http = httpx.Client(trust_env=False)
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=120.0, http_client=http)


def start(folder: Path, model: Path) -> RunningNode:
    """A node on a free port that serves a hand-written snapshot; returns when it says that it is ready."""
    project = ProjectConfig("prj_1", "org_1", "salt", TrafficPolicy(capture=True))
    key = KeyDigest("key_1", "prj_1", Pepper("pepper", "1").digest(KEY), "1")
    endpoint = EndpointConfig("ep_1", "prj_1", "dep_1", "assistant", model.name, holdout_rate=0.0)
    plain = replace(endpoint, endpoint_id="ep_2", name="plain", speculation_mode="off")
    snapshot = Snapshot("node_1", 1, "2026-01-01T00:00:00Z", (project,), (key,), (endpoint, plain))
    (folder / "snapshot.json").write_text(json.dumps(to_dict(snapshot)))
    command = [sys.executable, "-m", "dataplane", "--model", str(model), "--port", "0", "--max-context", "512"]
    command += ["--state-dir", str(folder / "state"), "--snapshot", str(folder / "snapshot.json"), "--num-slots", "4"]
    process = subprocess.Popen(
        [*command, "--grace-seconds", "1"],
        cwd=ROOT,
        env={**ENVIRONMENT, "SLIPSTREAM_KEY_PEPPER": "pepper"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    output: list[str] = []
    url = ""
    deadline = time.monotonic() + START_SECONDS
    for line in process.stdout:
        output.append(line)
        url = line.split("listening on ")[1].strip() if "listening on" in line else url
        if "ready:" in line:
            return RunningNode(process, url, folder / "state", output)
        assert time.monotonic() < deadline
    raise AssertionError(f"the node ended with {process.wait()}: {''.join(output)}")


def stop(node: RunningNode) -> int:
    node.process.send_signal(signal.SIGTERM)
    code = node.process.wait(60)
    assert node.process.stdout is not None
    node.output += node.process.stdout.readlines()
    node.process.stdout.close()
    return code


def usage(node: RunningNode) -> list[UsageEvent]:
    return [entry.event for entry in UsageSpool(node.state / "usage", "reader").unacknowledged(10_000)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, real_model: Path) -> Iterator[RunningNode]:
    running = start(tmp_path_factory.mktemp("node"), real_model)
    yield running
    if running.process.poll() is None:
        stop(running)


def test_the_same_text_whole_streamed_and_without_speculation(node: RunningNode) -> None:
    with node.client() as api:
        texts = set()
        for model, extra in (("assistant", {}), ("plain", {}), ("assistant", {"speculation": {"mode": "off"}})):
            answer = api.chat.completions.create(
                model=model, messages=COLOURS, max_tokens=24, temperature=0, extra_body=extra
            )
            texts.add(answer.choices[0].message.content)
            assert answer.usage is not None
            assert answer.usage.completion_tokens > 3
        stream = api.chat.completions.create(
            model="assistant",
            messages=COLOURS,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"speculation": {"mode": "adaptive", "max_lookahead": 4}},
        )
        chunks = list(stream)
    texts.add("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    assert len(texts) == 1
    assert "Red" in texts.pop()
    metrics = chunks[-1].metrics["speculative_decoding"]  # type: ignore[attr-defined]
    assert metrics["mode"] == "adaptive"
    assert metrics["steps"] > 0
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens > 30


def test_a_seed_reproduces_two_different_choices(node: RunningNode) -> None:
    with node.client() as api:
        answers = [
            api.chat.completions.create(
                model="assistant", messages=COLOURS, max_tokens=12, temperature=1.0, seed=11, n=2, extra_body=extra
            )
            for extra in ({}, {"speculation": {"mode": "off"}})
        ]
    texts = [[choice.message.content for choice in answer.choices] for answer in answers]
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[0][1]


def test_stop_strings_ids_and_logprobs(node: RunningNode) -> None:
    with node.client() as api:
        answer = api.chat.completions.create(
            model="assistant",
            messages=COLOURS,
            max_tokens=24,
            temperature=0,
            stop=["\n2"],
            logprobs=True,
            top_logprobs=3,
        )
        choice = answer.choices[0]
        assert choice.finish_reason == "stop"
        assert choice.message.content is not None
        assert "\n" not in choice.message.content
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        shown = b"".join(bytes(entry.bytes or []) for entry in choice.logprobs.content)
        assert shown.decode() == choice.message.content
        for entry in choice.logprobs.content:
            assert len(entry.top_logprobs) == 3
            assert entry.top_logprobs[0].logprob == pytest.approx(entry.logprob)  # greedy: the likeliest
            assert entry.logprob <= 0.0
        plain = api.completions.create(
            model="assistant", prompt="1, 2, 3, 4, 5,", max_tokens=8, temperature=0, logprobs=1
        )
        logprobs = plain.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.tokens is not None
        assert "".join(logprobs.tokens) == plain.choices[0].text


def test_a_disconnect_frees_the_engine_and_is_billed_for_what_was_generated(node: RunningNode) -> None:
    with node.client() as api:
        stream = api.chat.completions.create(
            model="assistant", messages=COLOURS, max_tokens=400, stream=True, extra_body={"ignore_eos": True}
        )
        for count, _ in enumerate(stream):
            if count == 4:
                break
        stream.close()
    deadline = time.monotonic() + 30
    while not (cancelled := [event for event in usage(node) if event.status == "client_cancelled"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(cancelled) == 1
    assert 0 < cancelled[0].completion_tokens < 400
    metrics = httpx.get(f"{node.url}/metrics", trust_env=False).text
    assert "vllm:num_requests_running 0.0" in metrics


def test_too_long_a_prompt_is_refused_and_the_node_lives(node: RunningNode) -> None:
    with node.client() as api:
        with pytest.raises(openai.BadRequestError) as refusal:
            api.completions.create(model="assistant", prompt="word " * 2000)
        assert (refusal.value.code, refusal.value.param) == ("context_length_exceeded", "prompt")
        with pytest.raises(openai.NotFoundError):
            api.completions.create(model="another", prompt="x")
        assert api.completions.create(model="assistant", prompt="x", max_tokens=1).choices


def test_a_second_node_on_the_same_state_is_refused(node: RunningNode, real_model: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dataplane",
        "--model",
        str(real_model),
        "--state-dir",
        str(node.state),
        "--port",
        "0",
    ]
    env = {**ENVIRONMENT, "SLIPSTREAM_KEY_PEPPER": "p", "SLIPSTREAM_CONTROL_PLANE": "http://127.0.0.1:9"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert "another node runs on the state folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_at_sigterm_every_admitted_request_has_its_one_event(node: RunningNode) -> None:
    with node.client() as api:
        stream = api.chat.completions.create(
            model="assistant", messages=COLOURS, max_tokens=400, stream=True, extra_body={"ignore_eos": True}
        )
        next(iter(stream))
        assert stop(node) == 0
        stream.close()
    assert node.output[-1].endswith("stopped\n")
    events = usage(node)
    assert len({event.event_id for event in events}) == len(events)
    assert [event.status for event in events].count("client_cancelled") == 2
    assert all(event.finished_at >= event.started_at for event in events)
    assert list((node.state / "traffic" / "ready").glob("*.zst"))
