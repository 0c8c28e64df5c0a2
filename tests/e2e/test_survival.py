"""What must survive: the control plane's death, a node's death, hostile requests, curious neighbours."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.running import Running, eventually

pytestmark = [pytest.mark.crash, pytest.mark.real_model, pytest.mark.timeout(900)]


def test_the_official_client_gets_an_answer_and_its_usage_reaches_postgres_once(service: Running) -> None:
    response = service.ask("Name a colour.")
    answer = response.parse()
    assert answer.choices[0].message.content
    events = eventually(
        lambda: service.usage_by_request().get(response.headers["x-request-id"]), seconds=90, what="the usage event"
    )
    assert len(events) == 1
    assert events[0]["completion_tokens"] == answer.usage.completion_tokens
    assert events[0]["prompt_tokens"] == answer.usage.prompt_tokens


def test_a_node_serves_without_the_control_plane_also_after_its_own_restart(service: Running) -> None:
    service.kill("web")
    try:
        before = service.ask("What is a queue?")
        service.kill("node")
        service.start("node")
        after = service.ask("What is a queue?")
        assert after.parse().choices[0].message.content == before.parse().choices[0].message.content
    finally:
        service.start("web")
    for response in (before, after):
        events = eventually(
            lambda response=response: service.usage_by_request().get(response.headers["x-request-id"]),
            seconds=90,
            what="usage of the time without a control plane",
        )
        assert len(events) == 1


def test_a_node_killed_in_mid_stream_loses_and_doubles_no_finished_request(service: Running) -> None:
    finished: dict[str, int] = {}  # request id -> completion tokens that the client was told
    streaming = threading.Event()

    def keep_asking(number: int) -> None:
        for turn in range(100):
            try:
                response = service.ask(f"Count to {number * 100 + turn}.", max_tokens=8)
            except openai.APIError:
                return  # the node is gone
            finished[response.headers["x-request-id"]] = response.parse().usage.completion_tokens

    def stream() -> None:
        try:
            with service.inference() as client:
                chunks = client.chat.completions.create(
                    model=str(service.demo["endpoint"]),
                    messages=[{"role": "user", "content": "Tell a very long story."}],
                    max_tokens=1000,
                    stream=True,
                )
                for count, _ in enumerate(chunks):
                    if count == 3:
                        streaming.set()
        except (openai.APIError, httpx.HTTPError):
            return

    threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=stream))
    for thread in threads:
        thread.start()
    assert streaming.wait(120)
    deadline = time.monotonic() + 180
    while len(finished) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    service.kill("node")
    for thread in threads:
        thread.join(180)
    service.start("node")
    assert len(finished) >= 4

    eventually(
        lambda: finished.keys() <= service.usage_by_request().keys(), seconds=90, what="usage of every finished request"
    )
    time.sleep(3)  # whatever else the new process may send
    events = service.usage_by_request()
    assert all(len(rows) == 1 for rows in events.values())
    assert {name: events[name][0]["completion_tokens"] for name in finished} == finished


def test_a_key_opens_its_own_project_only(service: Running) -> None:
    with service.management() as api:
        project = api.get("/projects").json()["data"][0]
        made = api.post("/projects", json={"organization_id": project["organization_id"], "name": "neighbour"})
        assert made.status_code == 201, made.text
        owned = {"project_id": made.json()["id"], "name": "neighbours-own"}
        assert api.post("/endpoints", json={**owned, "model": service.demo["model"]}).status_code == 202
        key = api.post("/api-keys", json=owned).json()["key"]
    with service.inference(key) as neighbour:

        def models() -> list[str]:
            try:
                return [model.id for model in neighbour.models.list().data]
            except openai.AuthenticationError:
                return []  # the node has not polled yet

        assert eventually(models, seconds=90, what="the new key on the node") == ["neighbours-own"]
        errors = []
        for model in (str(service.demo["endpoint"]), "absent"):
            with pytest.raises(openai.NotFoundError) as refusal:
                neighbour.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
            errors.append(str(refusal.value.body).replace(model, "MODEL"))
        assert errors[0] == errors[1], "an absent endpoint and a neighbour's must look the same"


_GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
_HOSTILE: dict[str, tuple[Any, str | None]] = {
    "no JSON": (b'{"model": ', None),
    "no object": (b"[]", None),
    "bad UTF-8": (b'{"model": "\xff"}', None),
    "deep nesting": (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    "no messages": ({"messages": None}, "messages"),
    "messages of a wrong type": ({"messages": "hello"}, "messages"),
    "unknown field": ({**_GOOD, "surprise": 1}, "surprise"),
    "negative limit": ({**_GOOD, "max_tokens": -1}, "max_tokens"),
    "a limit that is no number": ({**_GOOD, "max_tokens": "many"}, "max_tokens"),
    "a huge limit": ({**_GOOD, "max_tokens": 10**30}, "max_tokens"),
    "not a number": (b'{"model": "assistant", "messages": [], "temperature": NaN}', None),
    "a temperature out of range": ({**_GOOD, "temperature": -3}, "temperature"),
    "a prompt longer than the context": ({"messages": [{"role": "user", "content": "word " * 20_000}]}, "messages"),
    "an unknown model": ({**_GOOD, "model": "absent"}, "model"),
    "a bad speculation mode": ({**_GOOD, "speculation": {"mode": "turbo"}}, "speculation.mode"),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_request_is_refused_by_field_and_the_node_lives(service: Running, name: str) -> None:
    body, field = _HOSTILE[name]
    if isinstance(body, dict):
        body = json.dumps({"model": service.demo["endpoint"], **body}).encode()
    answer = _post(service, body)
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    if field is not None:
        assert (error["param"] or "").startswith(field), error
    assert service.ask("Still there?", max_tokens=2).parse().choices


def test_a_body_of_ten_megabytes_is_refused_before_it_is_parsed(service: Running) -> None:
    answer = _post(service, b'{"messages": "' + b"x" * 10_000_000 + b'"}')
    assert answer.status_code == 413
    assert service.ask("Still there?", max_tokens=2).parse().choices


def test_a_wrong_key_is_refused(service: Running) -> None:
    with service.inference("sls_live_" + "0" * 50) as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def _post(service: Running, body: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {service.demo['api_key']}", "Content-Type": "application/json"}
    return httpx.post(
        f"{service.options.inference_url}/chat/completions", content=body, headers=headers, timeout=60, trust_env=False
    )
