"""The configuration is read once, and what is wrong is said by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.config import ConfigError, read_config

ENV = {"SLIPSTREAM_KEY_PEPPER": "salt-and-1", "SLIPSTREAM_CONTROL_PLANE": "http://127.0.0.1:9"}
ARGV = ["--model", "models/m", "--state-dir", "state"]


def test_a_flag_wins_over_the_environment_which_wins_over_the_default() -> None:
    env = {**ENV, "SLIPSTREAM_PORT": "9000", "SLIPSTREAM_NUM_SLOTS": "4", "SLIPSTREAM_TRAFFIC_ROLL_SECONDS": "2"}
    config = read_config([*ARGV, "--port", "9001"], env)
    assert (config.port, config.num_slots, config.max_context) == (9001, 4, 2048)
    assert config.traffic_roll_seconds == 2.0
    assert config.model == Path("models/m")
    assert config.model_name == "m"
    assert config.address == "http://127.0.0.1:9001"


def test_secrets_are_not_shown() -> None:
    env = {**ENV, "SLIPSTREAM_NODE_TOKEN": "token-1", "S3_BUCKET": "b", "S3_SECRET_ACCESS_KEY": "secret-1"}
    config = read_config(ARGV, env)
    assert config.node_token == "token-1"
    assert config.object_store is not None
    assert config.object_store.secret_access_key == "secret-1"
    for secret in ("token-1", "secret-1", "salt-and-1"):
        assert secret not in repr(config)


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        ([], ENV, "--model"),
        (["--model", "m"], ENV, "--state-dir"),
        (ARGV, {"SLIPSTREAM_CONTROL_PLANE": "x"}, "SLIPSTREAM_KEY_PEPPER"),
        (ARGV, {"SLIPSTREAM_KEY_PEPPER": "p"}, "--control-plane"),
        (ARGV, {**ENV, "SLIPSTREAM_PORT": "many"}, "SLIPSTREAM_PORT"),
        (ARGV, {**ENV, "SLIPSTREAM_SIGNING_PUBLIC_KEYS": "[1]"}, "SLIPSTREAM_SIGNING_PUBLIC_KEYS"),
        ([*ARGV, "--num-slots", "0"], ENV, "--num-slots"),
        ([*ARGV, "--weights", "int4"], ENV, "--weights int4"),
        ([*ARGV, "--weights", "int8", "--engine", "sglang"], ENV, "--weights int8"),
    ],
)
def test_what_is_missing_or_wrong_is_named(argv: list[str], env: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(argv, env)
