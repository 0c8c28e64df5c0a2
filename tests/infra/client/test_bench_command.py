"""`slipstream bench` hands its options to the repository's benchmark, and says what is missing elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream_cli.commands import bench
from slipstream_cli.main import main


def test_options_reach_the_benchmark_and_its_exit_status_comes_back(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(bench.__file__).parent)
    assert main(["bench", "--workloads", "nosuch"]) == 2
    assert "neither a file nor a workload: nosuch" in capfd.readouterr().err


def test_without_a_repository_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPSTREAM_REPOSITORY", str(tmp_path))
    assert main(["bench"]) == 1
    assert "part of the repository" in capsys.readouterr().err
