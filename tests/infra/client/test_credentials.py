from __future__ import annotations

from pathlib import Path

import pytest

from slipstream_cli import credentials
from slipstream_cli.credentials import Profile
from slipstream_cli.exits import CommandError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"SLIPSTREAM_CONFIG_DIR": str(tmp_path / "config")}


def test_a_profile_survives_and_only_its_owner_can_read_it(environment: dict[str, str]) -> None:
    stored = Profile(url="https://slipstream.example", api_key="slm_secret")
    file = credentials.save("work", stored, environment)
    assert credentials.load("work", environment) == stored
    assert credentials.load("other", environment) == Profile()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_can_read_is_refused(environment: dict[str, str]) -> None:
    file = credentials.save("default", Profile(api_key="slm_secret"), environment)
    file.chmod(0o644)
    with pytest.raises(CommandError, match="chmod 600"):
        credentials.load("default", environment)


def test_a_damaged_file_is_named_and_not_overwritten(environment: dict[str, str]) -> None:
    file = credentials.save("default", Profile(api_key="slm_secret"), environment)
    file.write_text("{")
    with pytest.raises(CommandError, match="damaged"):
        credentials.save("default", Profile(), environment)
    assert file.read_text() == "{"


def test_variables_go_before_what_is_stored() -> None:
    stored = Profile(url="https://stored.example", api_key="slm_stored")
    found = credentials.effective(stored, {"SLIPSTREAM_API_KEY": "slm_variable"})
    assert (found.url, found.api_key) == ("https://stored.example", "slm_variable")
    assert credentials.effective(Profile(), {}).url == "http://127.0.0.1:8000"


def test_forgetting_a_profile_leaves_the_others(environment: dict[str, str]) -> None:
    for name in ("one", "two"):
        credentials.save(name, Profile(api_key=f"slm_{name}"), environment)
    file = credentials.save("one", Profile(), environment)
    assert credentials.load("two", environment).api_key == "slm_two"
    assert "slm_one" not in file.read_text()
