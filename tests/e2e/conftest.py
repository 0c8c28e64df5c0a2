"""One service for all tests of this folder: each leaves it running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, real_model: Path) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("slipstream")) as found:
        yield found
