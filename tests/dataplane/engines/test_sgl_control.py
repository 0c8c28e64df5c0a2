"""dataplane/engines/sgl: what needs no SGLang: the control channel, a request's parameters, the tally."""

from __future__ import annotations

import json
import os
import socket
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataplane.engines.base import GenerationRequest
from dataplane.engines.sgl.control import ControlClient, ControlError, ControlServer
from dataplane.engines.sgl.sequence import RequestParams, SglSequence
from dataplane.engines.sgl.settings import WorkerSettings
from dataplane.speculation.types import SamplingParams, SpeculationPolicy


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    def fail() -> None:
        raise RuntimeError("as asked")

    name = str(tmp_path / "control.sock")
    server = ControlServer(name, {"add": lambda left, right: left + right, "fail": fail})
    yield name
    server.close()


def test_calls_are_answered_in_turn_on_one_connection(path: str) -> None:
    client = ControlClient(path, timeout_seconds=5)
    assert [client.call("add", left=2, right=number) for number in range(3)] == [2, 3, 4]
    client.close()


def test_only_the_given_operations_exist_and_a_failure_is_told(path: str) -> None:
    client = ControlClient(path, timeout_seconds=5)
    for operation, why in (("eval", "no operation"), ("__class__", "no operation"), ("fail", "as asked")):
        with pytest.raises(ControlError, match=why):
            client.call(operation)
    with pytest.raises(ControlError, match="unexpected"):
        client.call("add", unexpected=1)
    assert client.call("add", left=1, right=1) == 2
    client.close()


def test_garbage_is_an_error_and_nothing_else(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw, raw.makefile("rwb") as stream:
        raw.settimeout(5)
        raw.connect(path)
        for line in (b"\x80\x04K\x01.\n", b"[1]\n", b'{"call": "add"}\n'):
            stream.write(line)
            stream.flush()
            assert "error" in json.loads(stream.readline())


def test_the_socket_is_this_users_alone(path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="does not listen"):
        ControlClient(str(tmp_path / "none.sock"))


def test_a_client_whose_server_dies_says_so_and_closes_in_peace(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        client = ControlClient(str(tmp_path / "control.sock"), timeout_seconds=5)
        listener.accept()[0].close()
    for _ in range(2):
        with pytest.raises(ControlError, match="gone"):
            client.call("gauges")
    client.close()


def test_parameters_survive_the_way_through_sglang() -> None:
    request = GenerationRequest(
        "req_1",
        "prj_a",
        "dep_a",
        "salt",
        (1, 2),
        8,
        SamplingParams(temperature=0.5, seed=7, logit_bias={3: -1.5}),
        SpeculationPolicy("adaptive", 4, remember=True),
        ignore_eos=True,
        num_logprobs=2,
    )
    params = RequestParams.of(request)
    sent = json.loads(json.dumps(params.to_custom_params()))
    assert RequestParams.from_custom_params(sent) == params


@pytest.mark.parametrize("params", [None, {}, {"other": 1}, "text"])
def test_a_request_that_is_not_our_servers_gets_no_speculation(params: object) -> None:
    found = RequestParams.from_custom_params(params)
    assert (found.project_id, found.speculation.mode, found.speculation.max_lookahead) == ("", "off", 0)


@dataclass
class Request:
    """What SGLang's scheduler keeps of a request."""

    rid: str = "req_1"
    origin_input_ids: array[int] = field(default_factory=lambda: array("q", [1, 2, 3]))
    output_ids: array[int] = field(default_factory=lambda: array("q"))
    sampling_params: Any = field(default_factory=lambda: SimpleNamespace(max_new_tokens=5))
    eos_token_ids: Any = None

    def finished(self) -> bool:
        return False


def test_a_sequence_follows_what_the_scheduler_kept() -> None:
    request = Request()
    sequence = SglSequence(request, RequestParams(speculation=SpeculationPolicy(max_lookahead=12)), max_lookahead=7)
    assert sequence.speculation.max_lookahead == 7
    request.output_ids.extend([4, 5])
    sequence.catch_up()
    assert (sequence.tokens, sequence.num_remaining) == ([1, 2, 3, 4, 5], 3)
    del request.output_ids[1:]  # cut at a stop token
    sequence.catch_up()
    assert (sequence.tokens, sequence.num_prompt_tokens) == ([1, 2, 3, 4], 3)


def test_settings_travel_by_the_environment_alone() -> None:
    settings = WorkerSettings("/run/control.sock", 4, 512, static="/checkpoint")
    assert WorkerSettings.from_environment(settings.to_environment()) == settings
    with pytest.raises(RuntimeError, match="inside a Slipstream node only"):
        WorkerSettings.from_environment({})
