"""Chat and plain completions over HTTP: whole and streamed answers, and what remains of them."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import httpx
import openai
import pytest

from dataplane.contracts import TrafficPolicy
from tests.dataplane.server.conftest import KEYS, Node, snapshot


def client(node: Node, key: str = "alice") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{node.url}/v1", api_key=KEYS[key], max_retries=0)


def test_an_answer_has_the_text_the_reason_and_the_usage(node: Node) -> None:
    with client(node) as api:
        answer = api.chat.completions.create(model="assistant", messages=[{"role": "user", "content": "say <grüße>"}])
    assert answer.choices[0].message.content == "grüße"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len("grüße".encode()) + 1  # the end of the sequence counts
    event = node.usage(1)[0]
    assert (event.status, event.prompt_tokens, event.completion_tokens) == (
        "completed",
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert (event.project_id, event.organization_id, event.endpoint_id) == ("prj_alice", "org_1", "ep_alice")
    assert (event.key_id, event.model, event.cached_tokens) == ("key_alice", "model-1", 1)


def test_a_stream_brings_the_role_the_text_the_reason_and_the_usage(node: Node) -> None:
    with client(node) as api:
        stream = api.chat.completions.create(
            model="assistant",
            messages=[{"role": "user", "content": "say <grüße 🎉 euch>"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "grüße 🎉 euch"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len("grüße 🎉 euch".encode()) + 1
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_usage_event_is_durable_before_the_last_bytes(node: Node) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body, headers=headers) as response:
        for line in response.iter_lines():
            if line == "data: [DONE]":
                assert list((node.folder / "usage").glob("*.log"))
                assert node.serving.ledger.spool.size() == 1
                break
        else:
            pytest.fail("no [DONE]")


def test_n_choices_share_the_prompt_and_are_numbered(node: Node) -> None:
    answer = node.chat("say <ab>", n=3, seed=5).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["ab"] * 3
    assert answer["usage"]["completion_tokens"] == 9
    assert answer["usage"]["prompt_tokens"] == len("user: say <ab>\n")
    seeds = [request.sampling.seed for request in node.engine.requests]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
    assert node.usage(1)[0].completion_tokens == 9


def test_n_choices_stream_each_with_its_reason(node: Node) -> None:
    with client(node) as api:
        stream = api.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "say <abcdef>"}], n=2, stream=True
        )
        texts, reasons = ["", ""], {}
        for chunk in stream:
            choice = chunk.choices[0]
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    assert texts == ["abcdef", "abcdef"]
    assert reasons == {0: "stop", 1: "stop"}


def test_a_stop_string_ends_the_text_before_it_and_bills_up_to_it(node: Node) -> None:
    answer = node.chat("say <one two STOP three>", stop=[" STOP"]).json()
    assert answer["choices"][0]["message"]["content"] == "one two"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len("one two STOP")
    assert node.engine.aborted == [node.engine.requests[0].request_id]
    assert node.usage(1)[0].status == "completed"


def test_the_length_limit_is_a_reason(node: Node) -> None:
    answer = node.chat("say <abcdef>", max_completion_tokens=4).json()
    assert answer["choices"][0]["message"]["content"] == "abcd"
    assert answer["choices"][0]["finish_reason"] == "length"


def test_logprobs_come_with_their_tokens(node: Node) -> None:
    content = node.chat("say <aé>", logprobs=True, top_logprobs=1).json()["choices"][0]["logprobs"]["content"]
    assert [entry["bytes"] for entry in content] == [[97], [0xC3], [0xA9]]
    assert content[0]["top_logprobs"] == [{"token": "a", "logprob": -0.5, "bytes": [97]}]
    body = {"model": "assistant", "prompt": "say <abc>", "logprobs": 1, "stop": "c"}
    logprobs = node.post("/v1/completions", body).json()["choices"][0]["logprobs"]
    assert (logprobs["tokens"], logprobs["text_offset"]) == (["a", "b"], [0, 1])
    assert logprobs["top_logprobs"][1] == {"b": -0.5}


def test_completions_take_text_and_tokens(node: Node) -> None:
    body = {"model": "assistant", "prompt": ["say <x>", "say <y>"], "n": 2, "max_tokens": 5}
    answer = node.post("/v1/completions", body).json()
    assert [choice["text"] for choice in answer["choices"]] == ["x", "x", "y", "y"]
    assert answer["usage"]["prompt_tokens"] == 2 * len("say <x>")
    answer = node.post("/v1/completions", {"model": "assistant", "prompt": list(b"say <z>")}).json()
    assert answer["choices"][0]["text"] == "z"


def test_metrics_come_with_a_speculation_wish_that_only_lowers(node: Node) -> None:
    lowered = node.chat("hi", speculation={"mode": "static", "max_lookahead": 2}).json()["metrics"]
    assert lowered["speculative_decoding"]["mode"] == "static"
    assert lowered["speculative_decoding"]["acceptance_length"] == 3.0
    assert node.engine.requests[-1].speculation.max_lookahead == 2
    node.chat("hi", speculation={"max_lookahead": 64})
    assert node.engine.requests[-1].speculation.max_lookahead == 8
    body = {"model": "other", "messages": [{"role": "user", "content": "hi"}], "speculation": {"mode": "adaptive"}}
    assert node.post("/v1/chat/completions", body, "bob").json()["metrics"]["speculative_decoding"]["mode"] == "static"
    assert "metrics" not in node.chat("hi").json()


def test_a_trace_is_opt_in_and_changes_nothing_else(node: Node) -> None:
    answer = node.chat("hi", speculation={"trace": True}).json()["metrics"]["speculative_decoding"]
    assert node.engine.requests[-1].trace
    (step,) = answer["trace"]
    assert (step["source"], step["reason"], step["predicted_tokens"], step["tokens"]) == ("memory", "better", 2.5, 3)
    assert answer["goodput"]["memory"]["steps"] == 1
    assert "trace" not in node.chat("hi", speculation={}).json()["metrics"]["speculative_decoding"]
    text = httpx.get(f"{node.url}/metrics").text
    assert 'slipstream_speculation_tokens_total{kind="predicted",project="prj_alice",source="memory"}' in text
    assert "slipstream_relearning{" in text


def test_a_stream_carries_the_metrics_in_its_last_chunk(node: Node) -> None:
    for options in ({}, {"stream_options": {"include_usage": True}}):
        text = node.chat("hi", stream=True, speculation={"mode": "off"}, **options).text
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        assert events[-1]["metrics"]["speculative_decoding"]["mode"] == "off"
        assert all("metrics" not in event for event in events[:-1])


def test_consent_decides_what_is_logged_and_remembered(node: Node) -> None:
    segments = node.serving.ledger.segments
    response = node.chat("hi")
    assert response.headers["x-slipstream-retention"] == "training"
    assert node.engine.requests[-1].speculation.remember
    response = node.chat("hi", store=False)
    assert response.headers["x-slipstream-retention"] == "none"
    assert not node.engine.requests[-1].speculation.remember
    body = {"model": "other", "messages": [{"role": "user", "content": "hi"}]}
    response = node.post("/v1/chat/completions", body, "bob")
    assert response.headers["x-slipstream-retention"] == "none"
    assert not node.engine.requests[-1].speculation.remember
    segments.work(wait_seconds=0.0)
    segments.close_all()
    ready = segments.ready()
    assert [segment.metadata["records"] for segment in ready] == ["1"]
    assert ready[0].key.startswith("projects/prj_alice/traffic/")


@pytest.mark.parametrize("change", [{"traffic": TrafficPolicy()}, {"cache_salt": "new, as after an erasure"}])
def test_a_consent_that_goes_away_while_a_request_runs_keeps_nothing_of_it(
    node: Node, change: dict[str, object]
) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": f"say <{'long ' * 300}>"}], "stream": True}
    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body, headers=headers) as response:
        lines = response.iter_lines()
        assert response.headers["x-slipstream-retention"] == "training"
        next(lines)
        projects = tuple(replace(one, **change) for one in snapshot().projects)  # type: ignore[arg-type]
        node.serving.snapshots.apply(replace(snapshot(), generation=4, projects=projects))
        assert "data: [DONE]" in list(lines)
    assert node.usage(1)[0].status == "completed"
    segments = node.serving.ledger.segments
    segments.work(wait_seconds=0.0)
    segments.close_all()
    assert segments.ready() == []


def test_a_disconnect_ends_the_request_and_is_billed_as_cancelled(node: Node) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "say <abc> forever"}]}
    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    url = f"{node.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={**body, "stream": True}, headers=headers) as response:
        next(response.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=body, headers=headers, timeout=0.3)
    deadline = time.monotonic() + 10
    while node.serving.num_running and time.monotonic() < deadline:
        time.sleep(0.02)
    events = node.usage(2)
    assert [event.status for event in events] == ["client_cancelled"] * 2
    assert all(event.completion_tokens > 0 for event in events)
    assert len(node.engine.aborted) == 2


def test_an_engine_error_is_an_error_also_in_mid_stream(node: Node) -> None:
    response = node.chat("fail")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_error")
    with client(node) as api, pytest.raises(openai.APIError, match="engine failed"):
        list(
            api.chat.completions.create(model="assistant", messages=[{"role": "user", "content": "fail"}], stream=True)
        )
    assert [event.status for event in node.usage(2)] == ["engine_error"] * 2
    assert node.chat("hi").status_code == 200


def test_a_request_that_takes_too_long_ends_as_a_timeout(node: Node) -> None:
    object.__setattr__(node.serving.limits, "request_timeout_seconds", 0.1)
    response = node.chat("forever")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "timeout")
    assert node.usage(1)[0].status == "timeout"


def test_draining_admits_nothing_and_settles_what_runs(node: Node) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "forever"}], "stream": True}
    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body, headers=headers) as response:
        lines = response.iter_lines()
        next(lines)
        node.in_loop(node.serving.drain(0.05))
        refused = node.chat("hi")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert httpx.get(f"{node.url}/readyz").status_code == 503
        assert httpx.get(f"{node.url}/healthz").status_code == 200
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert node.usage(1)[0].status == "client_cancelled"


def test_a_dead_engine_is_not_live_and_what_ran_is_settled_as_its_error(node: Node) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "forever"}], "stream": True}
    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body, headers=headers) as response:
        lines = response.iter_lines()
        next(lines)
        node.serving.is_engine_alive = lambda: False
        assert httpx.get(f"{node.url}/healthz").status_code == 503
        node.in_loop(node.serving.abandon())
        assert any('"engine_error"' in line for line in lines)
    assert node.usage(1)[0].status == "engine_error"
