from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra.client.generate import OPENAPI, PACKAGE, main
from slipstream_client import Slipstream


def test_the_committed_client_is_what_the_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, f"run `make client`:\n{capsys.readouterr().out}"


def test_every_operation_is_a_method() -> None:
    document = yaml.safe_load(OPENAPI.read_text())
    operations = {found["operationId"] for methods in document["paths"].values() for found in methods.values()}
    assert {name for name in operations if not hasattr(Slipstream, name)} == set()


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(PACKAGE / "py.typed").exists()
