"""A peer is a process behind a pipe: what it says counts, and why it can't run is reported."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from infra.bench.peers.base import KINDS, LLAMA_CPP, PeerError, PeerKind
from infra.bench.peers.environment import interpreter
from infra.bench.peers.lookup import look_up
from infra.bench.peers.process import PeerProcess, open_peers

KIND = PeerKind("counter", "A counter", "unused.py", ("bf16-plain", "bf16-broken"), start_seconds=60)
COUNTER = """
import protocol

def start(settings):
    print("noise that is not part of the protocol")
    if settings.get("fail"):
        raise FileNotFoundError("no weights here")
    def generate(mode, prompt, max_tokens):
        if mode == "bf16-broken":
            raise RuntimeError("two\\nlines")
        yield [len(prompt)]
        yield list(range(max_tokens - 1))
    return "1.0", settings["modes"] + ["bf16-unknown"], {"q8_0-plain": "no such file"}, generate

protocol.serve(start)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "counter.py"
    path.write_text(COUNTER)
    return path


def test_tokens_and_times_come_back_and_an_error_ends_only_its_request(program: Path, tmp_path: Path) -> None:
    peer = PeerProcess(KIND, Path(sys.executable), {}, log=tmp_path / "log", program=program)
    try:
        assert (peer.version, peer.modes) == ("1.0", ["bf16-plain", "bf16-broken"])
        assert peer.failed == {"q8_0-plain": "no such file"}
        with pytest.raises(PeerError, match="RuntimeError: two lines"):
            peer.generate("bf16-broken", [1], 4)
        run = peer.generate("bf16-plain", [7, 8, 9], 4)
        assert run.tokens == (3, 0, 1, 2)
        assert run.prefill_seconds >= 0
        assert run.tokens_per_second > 0
        assert "noise" in (tmp_path / "log").read_text()
    finally:
        peer.close()


def test_a_peer_that_does_not_start_says_why(program: Path, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="FileNotFoundError: no weights here"):
        PeerProcess(KIND, Path(sys.executable), {"fail": True}, log=tmp_path / "log", program=program)


def test_a_peer_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "dies.py"
    program.write_text("import sys; sys.exit('illegal instruction')")
    with pytest.raises(PeerError, match="illegal instruction"):
        PeerProcess(KIND, Path(sys.executable), {}, log=tmp_path / "log", program=program)


def test_what_is_missing_is_listed_with_its_reason(tmp_path: Path) -> None:
    def nowhere(kind: PeerKind) -> Path:
        raise PeerError("can't be installed: no compiler")

    peers, reasons = open_peers([KIND], nowhere, {}, tmp_path, lambda line: None)
    assert (peers, reasons) == ([], {"counter": "can't be installed: no compiler"})


def test_an_environment_that_can_not_be_made_names_the_error(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "peer.txt").write_text("no such requirement !\n")
    kind = dataclasses.replace(KIND, requirements="peer.txt")
    with pytest.raises(PeerError, match="can't be installed"):
        interpreter(kind, tmp_path, lambda line: None)
    with pytest.raises(PeerError, match="not installed"):
        interpreter(kind, tmp_path, lambda line: None, install=False)


def test_requirements_of_peers_are_hashed_and_name_no_index() -> None:
    folder = Path(__file__).resolve().parents[3] / "requirements"
    for kind in KINDS.values():
        if kind.requirements:
            text = (folder / kind.requirements).read_text()
            assert "--hash=sha256:" in text
            assert "://" not in text
    assert LLAMA_CPP.modes[0] == "bf16-plain"


def test_prompt_lookup_continues_the_longest_match() -> None:
    assert look_up([1, 2, 3, 9, 9, 1, 2, 3], 2) == [9, 9]
    assert look_up([5, 6, 5, 7, 5], 3) == [7, 5]
    assert look_up([1, 2, 3], 4) == []
