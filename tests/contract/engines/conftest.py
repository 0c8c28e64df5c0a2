"""One suite for every engine; SGLang takes part where it is installed (`make test-sglang`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.contract.engines.learning import DELTA, answered, train
from tests.contract.engines.worlds import (
    PROMPTS,
    TOKENS,
    World,
    embedded_world,
    fake_world,
    sglang_world,
    stock,
    write_static,
    write_target,
)

HAS_SGLANG = find_spec("sglang") is not None
# In the other environment, `make test` runs the other engines.
KINDS = ("sglang",) if HAS_SGLANG else ("fake", "embedded")
collect_ignore_glob = ["test_target_model.py"] if HAS_SGLANG else ["test_sgl_*"]
os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")
os.environ.setdefault("SGLANG_PLUGINS", "slipstream,cpu_shim")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing from threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_target(tmp_path_factory.mktemp("tiny") / "target")


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_static(tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="session")
def sglang_truth(target: Path) -> dict[tuple[int, ...], tuple[int, ...]]:
    """What an unmodified SGLang says without speculation."""
    plain = stock(target, PROMPTS, TOKENS, {})[0]["before"]["tokens"]
    return {prompt: tuple(tokens) for prompt, tokens in zip(PROMPTS, plain, strict=True)}


@pytest.fixture(scope="session", params=KINDS)
def world(request: pytest.FixtureRequest, target: Path, static: Path) -> Iterator[World]:
    made = {
        "fake": fake_world,
        "embedded": lambda: embedded_world(target, static),
        "sglang": lambda: sglang_world(target, static, request.getfixturevalue("sglang_truth")),
    }[request.param]()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def learned(world: World, target: Path, static: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delta that the training process made of what this engine answered; the fake's drafter reads no weights."""
    folder = tmp_path_factory.mktemp("learned")
    if world.kind == "fake":
        (folder / DELTA).write_text("a delta of the fake drafter")
        return folder / DELTA
    report = train([answered(world.engine, folder)], "prj_learn", target, static, folder)
    assert report.arms["candidate"].acceptance_length > report.arms["static"].acceptance_length + 0.5
    return folder / DELTA
