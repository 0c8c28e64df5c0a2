"""Whom a client asks for: an id that only the project's key makes, for records, memory and deletion. Never the name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from dataplane.contracts import ProjectConfig, TrafficPolicy, TrafficRecord, end_user_id, from_dict
from tests.dataplane.server.conftest import Node, snapshot

KEY = "k" * 64
NAME = "jane.doe@example.com"


def configure(node: Node, **changes: object) -> ProjectConfig:
    projects = tuple(replace(one, end_user_key=KEY, **changes) for one in snapshot().projects)  # type: ignore[arg-type]
    current = node.serving.snapshots.current
    generation = 4 if current is None else current.generation + 1
    node.serving.snapshots.apply(replace(snapshot(), generation=generation, projects=projects))
    return projects[0]


def records(node: Node) -> list[TrafficRecord]:
    segments = node.serving.ledger.segments
    segments.work(wait_seconds=0.0)
    segments.close_all()
    found = []
    for segment in segments.ready():
        lines = zstandard.ZstdDecompressor().decompressobj().decompress(segment.path.read_bytes()).splitlines()
        found += [from_dict(TrafficRecord, json.loads(line)) for line in lines]
    return found


def test_an_id_depends_on_the_projects_key_and_shows_nothing_of_the_name() -> None:
    assert end_user_id("a", NAME) == end_user_id("a", NAME) != end_user_id("b", NAME)
    assert end_user_id("a", NAME).startswith("eu_") and len(end_user_id("a", "x" * 1024)) == 35
    assert end_user_id("a", "\ud800") != end_user_id("a", "\ud801")  # what JSON may carry


@pytest.mark.parametrize("field", ["user", "safety_identifier"])
def test_a_record_has_the_end_users_id_and_the_consent_it_was_made_under(node: Node, field: str) -> None:
    project = configure(node)
    answer = node.chat("hi", **{field: NAME})
    assert answer.headers["x-slipstream-end-user"] == end_user_id(KEY, NAME)
    assert "x-slipstream-end-user" not in node.chat("hi").headers
    found = records(node)
    assert [one.end_user_id for one in found] == [end_user_id(KEY, NAME), ""]
    assert {one.consent for one in found} == {project.traffic}
    stored = b"".join(path.read_bytes() for path in Path(node.folder).rglob("*") if path.is_file())
    assert NAME.encode() not in stored
    assert (
        NAME
        not in zstandard.ZstdDecompressor()
        .decompressobj()
        .decompress(node.serving.ledger.segments.ready()[0].path.read_bytes())
        .decode()
    )


def test_the_newer_name_of_the_field_wins(node: Node) -> None:
    configure(node)
    answer = node.chat("hi", user="old", safety_identifier="new")
    assert answer.headers["x-slipstream-end-user"] == end_user_id(KEY, "new")


def test_the_policy_decides_who_shares_a_memory(node: Node) -> None:
    configure(node)
    node.chat("hi", user=NAME)
    assert node.engine.requests[-1].end_user_id == "" and node.engine.requests[-1].speculation.remember
    configure(node, traffic=TrafficPolicy(capture=True, memory_scope="end_user"))
    node.chat("hi", user=NAME)
    assert node.engine.requests[-1].end_user_id == end_user_id(KEY, NAME)
    assert node.engine.requests[-1].speculation.remember
    node.chat("hi")
    assert node.engine.requests[-1].end_user_id == "nobody"
    assert not node.engine.requests[-1].speculation.remember


def test_an_end_users_erasure_while_a_request_runs_keeps_nothing_of_it(node: Node) -> None:
    configure(node)
    with node.stream("say <" + "long " * 200 + ">", user=NAME) as response:
        lines = response.iter_lines()
        next(lines)
        configure(node, end_user_erasures=1)
        assert "data: [DONE]" in list(lines)
    assert node.usage(1)[0].status == "completed"
    assert records(node) == []
