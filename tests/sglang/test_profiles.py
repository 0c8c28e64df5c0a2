"""Every SGLang profile starts with arguments that SGLang's own parser accepts. Runs where SGLang is installed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import pytest
from sglang.srt.server_args import ServerArgs
from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

from dataplane.config import read_config
from dataplane.engines.sgl.algorithm import SlipstreamAlgorithm, validate_server_args
from dataplane.engines.sgl.plugin import register
from dataplane.engines.sgl.settings import ALGORITHM, server_arguments
from dataplane.profiles import NodeProfile, load_profile, profile_names

NAMES = [name for name in profile_names() if load_profile(name).engine == "sglang"]


@pytest.fixture(scope="module", autouse=True)
def plugin() -> None:
    """As SGLang's processes load it."""
    register()


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    ServerArgs.add_cli_args(parser)
    return parser.parse_args(words)


def started(profile: NodeProfile) -> dict[str, Any]:
    """What a node that was launched with the profile's command starts SGLang with."""
    words = [*profile.command(model="/model", draft="/draft")[3:], "--state-dir", "/s", "--snapshot", "/s/snapshot"]
    config = read_config(words, {"SLIPSTREAM_KEY_PEPPER": "p"})
    return server_arguments(
        str(config.model),
        num_slots=config.num_slots,
        max_context=config.max_context,
        max_lookahead=15,
        more=config.engine_args,
    )


def as_words(arguments: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    return words


@pytest.mark.parametrize("name", NAMES)
def test_a_node_starts_our_algorithm_with_the_profiles_arguments(name: str) -> None:
    profile = load_profile(name)
    given = parsed(as_words(started(profile)))
    assert given.speculative_algorithm == ALGORITHM
    assert isinstance(SpeculativeAlgorithm.from_string(given.speculative_algorithm), SlipstreamAlgorithm)
    validate_server_args(given)
    assert given.model_path == "/model"
    assert given.tp_size == profile.machine.count
    assert given.speculative_num_draft_tokens == max(profile.lookahead.values()) + 1
    for key, argument in profile.arguments.items():
        assert getattr(given, key.replace("-", "_")) == argument.value


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_starts_the_stock_algorithm_and_listens_here_alone(name: str) -> None:
    profile = load_profile(name)
    given = parsed(profile.replica_command(model="/model", draft="/merged")[3:])
    assert (given.speculative_algorithm, given.speculative_draft_model_path) == ("EAGLE3", "/merged")
    assert SpeculativeAlgorithm.from_string(given.speculative_algorithm).is_eagle3()
    assert (given.host, given.tp_size) == ("127.0.0.1", profile.machine.count)
    assert (given.speculative_eagle_topk, given.speculative_num_steps) == (1, max(profile.lookahead.values()))


def test_the_parser_and_our_check_would_notice_a_wrong_argument() -> None:
    words = as_words(started(load_profile(NAMES[0])))
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed([*words, "--kv-cache-dtype", "fp7"])
    with pytest.raises(ValueError, match="pipeline"):
        validate_server_args(parsed([*words, "--pp-size", "2"]))  # type: ignore[arg-type]
