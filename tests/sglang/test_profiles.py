"""Every SGLang profile is a command line that SGLang's own parser accepts. Runs where SGLang is installed."""

from __future__ import annotations

import argparse

import pytest
from sglang.srt.server_args import ServerArgs

from dataplane.profiles import load_profile, profile_names

NAMES = [name for name in profile_names() if load_profile(name).engine == "sglang"]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(exit_on_error=False)
    ServerArgs.add_cli_args(made)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_sglang_takes_the_profiles_arguments(name: str) -> None:
    profile = load_profile(name)
    given = parser().parse_args(profile.command(model="/model")[3:])
    assert given.model_path == "/model"
    assert given.tp_size == profile.machine.count
    assert given.speculative_num_draft_tokens == max(profile.lookahead.values()) + 1
    for key, argument in profile.arguments.items():
        assert getattr(given, key.replace("-", "_")) == argument.value


def test_the_parser_would_notice_a_wrong_argument() -> None:
    words = load_profile(NAMES[0]).command(model="/model")[3:]
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parser().parse_args([*words, "--kv-cache-dtype", "fp7"])
