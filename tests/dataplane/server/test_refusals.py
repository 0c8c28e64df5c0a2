"""What a node refuses, in OpenAI's form, and that it lives on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.dataplane.server.conftest import KEYS, Node, snapshot


def post_raw(node: Node, body: bytes, **headers: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEYS['alice']}", "Content-Type": "application/json", **headers}
    return httpx.post(f"{node.url}/v1/chat/completions", content=body, headers=headers)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer sk-something",
        f"Basic {KEYS['alice']}",
        f"Bearer {KEYS['alice'][:-1]}y",
        f"Bearer {KEYS['expired']}",
        "Bearer " + "x" * 5000,
    ],
)
def test_without_a_valid_key_nothing_is_said(node: Node, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for response in (
        httpx.get(f"{node.url}/v1/models", headers=headers),
        httpx.post(f"{node.url}/v1/chat/completions", content=b"{", headers=headers),
    ):
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_another_projects_endpoint_is_the_same_404_as_an_absent_one(node: Node) -> None:
    errors = []
    for model in ("other", "absent", "disabled"):
        response = node.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]})
        assert response.status_code == 404
        errors.append({**response.json()["error"], "message": response.json()["error"]["message"].replace(model, "")})
        models = httpx.get(f"{node.url}/v1/models/{model}", headers={"Authorization": f"Bearer {KEYS['alice']}"})
        assert models.status_code == 404
    assert errors[0] == errors[1] == errors[2]
    assert errors[0]["code"] == "model_not_found"
    listed = httpx.get(f"{node.url}/v1/models", headers={"Authorization": f"Bearer {KEYS['alice']}"}).json()
    assert [model["id"] for model in listed["data"]] == ["assistant"]


def _models(node: Node, key: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{node.url}/v1/models", headers={"Authorization": f"Bearer {KEYS[key]}", **headers})


def test_a_key_that_may_only_read_lists_models_and_generates_nothing(node: Node) -> None:
    assert _models(node, "reading").status_code == 200
    for path in ("/v1/chat/completions", "/v1/completions"):
        refused = node.post(path, {"model": "other"}, "reading")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert node.engine.requests == []


def test_a_key_for_one_endpoint_knows_no_other(node: Node) -> None:
    assert [model["id"] for model in _models(node, "narrow").json()["data"]] == ["second"]
    assert node.chat("say <x>", "narrow", model="second").status_code == 200
    errors = [node.chat("say <x>", "narrow", model=model).json()["error"] for model in ("other", "absent")]
    assert errors[0]["message"].replace("other", "absent") == errors[1]["message"]
    read = httpx.get(f"{node.url}/v1/models/other", headers={"Authorization": f"Bearer {KEYS['narrow']}"})
    assert read.status_code == 404


def test_a_key_with_an_allow_list_is_the_same_401_from_elsewhere(node: Node) -> None:
    refused, unknown = _models(node, "fenced"), _models(node, "expired")
    assert (refused.status_code, refused.json()) == (401, unknown.json())
    assert _models(node, "fenced", **{"X-Forwarded-For": "192.0.2.7"}).status_code == 401, (
        "a client writes what it likes"
    )


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("192.0.2.7", 200),
        ("192.0.2.7, 198.51.100.1", 401),  # the last hop is the one that our proxy saw
        ("198.51.100.1, 192.0.2.7", 200),
        ("::ffff:192.0.2.7", 200),
        ("2001:db8::1", 200),
        ("nonsense", 401),
        (None, 401),  # around the proxy
    ],
)
def test_behind_a_proxy_the_address_is_what_the_proxy_saw(node: Node, forwarded: str | None, status: int) -> None:
    node.serving.limits = replace(node.serving.limits, trusted_proxies=1)
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert _models(node, "fenced", **headers).status_code == status


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"model": "assistant", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, "invalid_json"),
        (b"[" * 200_000, 400, "invalid_json"),
        (b'{"model": "assistant", "messages": [], "temperature": NaN}', 400, "invalid_json"),
        (b'{"model": "assistant"}', 400, "missing_required_parameter"),
        (b"x" * 10_000_000, 413, "request_too_large"),
    ],
)
def test_hostile_bodies_are_refused_and_the_node_lives(node: Node, body: bytes, status: int, code: str) -> None:
    response = post_raw(node, body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["x-request-id"].startswith("req_")
    assert node.chat("hi").status_code == 200


def test_a_chunked_body_is_cut_off_at_the_limit(node: Node) -> None:
    def body() -> object:
        for _ in range(200):
            yield b"x" * 10_000

    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    response = httpx.post(f"{node.url}/v1/chat/completions", content=body(), headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "messages", "context_length_exceeded"),
        ({"max_tokens": 5000}, "max_tokens", "context_length_exceeded"),
        ({"max_completion_tokens": 5000}, "max_completion_tokens", "context_length_exceeded"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"stop_token_ids": [257]}, "stop_token_ids", "invalid_value"),
        ({"logit_bias": {"999": 1}}, "logit_bias", None),
        ({"tools": [{}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_schema"}}, "response_format.type", "invalid_value"),
        ({"foo": 1}, "foo", "unknown_parameter"),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(
    node: Node, fields: dict[str, object], param: str, code: str | None
) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "x"}], **fields}
    response = post_raw(node, json.dumps(body).encode())
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("prompt", ["", [300], [-1]])
def test_a_prompt_must_have_tokens_of_the_vocabulary(node: Node, prompt: object) -> None:
    response = node.post("/v1/completions", {"model": "assistant", "prompt": prompt})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "prompt")


def test_unknown_paths_and_methods_have_openais_form(node: Node) -> None:
    response = httpx.get(f"{node.url}/v1/unknown")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")
    response = httpx.get(f"{node.url}/v1/chat/completions")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


def test_limits_answer_429_with_headers_and_recover_with_the_request(node: Node) -> None:
    assert node.chat("hi", "limited").headers["x-ratelimit-remaining-requests"] == "1"
    assert node.chat("hi", "limited").status_code == 200
    response = node.chat("hi", "limited")
    assert (response.status_code, response.json()["error"]["type"]) == (429, "rate_limit_error")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert response.headers["x-ratelimit-limit-requests"] == "2"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert response.headers["ratelimit-policy"].startswith('"requests";q=2;w=60')
    assert response.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert node.chat("hi").status_code == 200  # another project


def test_a_full_engine_is_said_to_be_overloaded(node: Node) -> None:
    node.engine.waiting = 256
    response = node.chat("hi")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
    assert response.headers["retry-after"] == "1"


def test_a_node_without_a_snapshot_is_alive_but_not_ready(node: Node) -> None:
    node.serving.snapshots._current = None
    assert httpx.get(f"{node.url}/healthz").status_code == 200
    assert httpx.get(f"{node.url}/readyz").status_code == 503
    assert node.chat("hi").status_code == 503


def test_metrics_have_vllms_names_by_project_and_speculator_version(node: Node) -> None:
    node.chat("hi")
    text = httpx.get(f"{node.url}/metrics").text
    labels = '{project="prj_alice",speculator_version="spv_1"}'
    assert f"vllm:spec_decode_num_drafts_total{labels} 2.0" in text
    assert f"vllm:spec_decode_num_draft_tokens_total{labels} 6.0" in text
    assert f"vllm:spec_decode_num_accepted_tokens_total{labels} 4.0" in text
    assert "slipstream_snapshot_generation 3.0" in text


def test_a_key_that_is_revoked_while_the_body_arrives_opens_nothing(node: Node) -> None:
    body = json.dumps({"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}).encode()

    def slowly() -> Iterator[bytes]:
        yield body[:10]
        time.sleep(0.3)  # the server has read the headers, and knows the key
        node.serving.snapshots.apply(replace(snapshot(), generation=4, keys=()))
        yield body[10:]

    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    response = httpx.post(f"{node.url}/v1/chat/completions", content=slowly(), headers=headers)
    assert response.status_code == 401
    assert node.engine.requests == []
