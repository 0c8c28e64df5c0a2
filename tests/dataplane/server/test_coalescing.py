"""Streams whose parts don't tell how many tokens were accepted together: by number or by the clock."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from dataplane.contracts import StreamCoalescing
from tests.dataplane.server.conftest import Node, snapshot

TEXT = "".join(chr(97 + index % 26) for index in range(100))


def parts(node: Node, coalescing: StreamCoalescing, **fields: object) -> list[tuple[float, str]]:
    """(when, text) of each delta of a stream of TEXT, which the engine makes three tokens at a time."""
    projects = tuple(replace(one, streaming=coalescing) for one in snapshot().projects)
    node.serving.snapshots.apply(replace(snapshot(), generation=4, projects=projects))
    found = []
    with node.stream(f"say <{TEXT}>", **fields) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and (content := choices[0]["delta"].get("content")):
                    found.append((time.monotonic(), content))
    assert node.usage(1)[0].status == "completed"
    return found


def test_without_coalescing_each_step_shows_what_it_accepted(node: Node) -> None:
    assert [len(text) for _, text in parts(node, StreamCoalescing())] == [3] * 33 + [1]


def test_parts_have_a_fixed_number_of_tokens_whatever_a_step_accepted(node: Node) -> None:
    found = parts(node, StreamCoalescing("tokens", tokens=16))
    assert [len(text) for _, text in found] == [16] * 6 + [4]
    assert "".join(text for _, text in found) == TEXT


def test_parts_come_by_the_clock_and_so_does_the_end(node: Node) -> None:
    started = time.monotonic()
    found = parts(node, StreamCoalescing("interval", milliseconds=60))
    assert "".join(text for _, text in found) == TEXT
    assert len(found) <= (time.monotonic() - started) / 0.06 + 1  # one at each tick, however long the steps take
    assert found[0][0] - started >= 0.06


@pytest.mark.parametrize(
    "coalescing", [StreamCoalescing("tokens", tokens=7), StreamCoalescing("interval", milliseconds=5)]
)
def test_a_stop_string_and_log_probabilities_are_what_they_are_without(
    node: Node, coalescing: StreamCoalescing
) -> None:
    found = parts(node, coalescing, stop=["xyz"], logprobs=True, top_logprobs=1)
    assert "".join(text for _, text in found) == TEXT[: TEXT.index("xyz")]


def test_a_whole_answer_waits_for_no_clock(node: Node) -> None:
    projects = tuple(
        replace(one, streaming=StreamCoalescing("interval", milliseconds=5000)) for one in snapshot().projects
    )
    node.serving.snapshots.apply(replace(snapshot(), generation=4, projects=projects))
    started = time.monotonic()
    assert node.chat("say <hello>").json()["choices"][0]["message"]["content"] == "hello"
    assert time.monotonic() - started < 4.0
