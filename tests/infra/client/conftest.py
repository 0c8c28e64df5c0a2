from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.control_plane.tenant import Tenant, make_tenant
from tests.infra.client.shell import Shell


@pytest.fixture
def alice(transactional_db: None) -> Tenant:
    return make_tenant("alice")


@pytest.fixture
def shell(
    live_server: Any,
    alice: Tenant,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Shell:
    for name in ("SLIPSTREAM_INFERENCE_KEY", "SLIPSTREAM_PROJECT", "SLIPSTREAM_ORGANIZATION", "SLIPSTREAM_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPSTREAM_URL", live_server.url)
    monkeypatch.setenv("SLIPSTREAM_API_KEY", alice.service_key_text)
    monkeypatch.setenv("SLIPSTREAM_CONFIG_DIR", str(tmp_path / "config"))
    return Shell(capsys, monkeypatch)
