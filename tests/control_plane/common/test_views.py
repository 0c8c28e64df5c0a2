"""What every view of the management API has in common."""

from __future__ import annotations

import pytest

from tests.control_plane.tenant import Tenant


@pytest.mark.parametrize("path", ["projects?limit=1", "endpoints", "statements", "prices"])
def test_head_answers_as_get_does_without_the_body(alice: Tenant, path: str) -> None:
    answer = alice.api.client.head(f"/api/v1/{path}")

    assert answer.status_code == alice.api.get(f"/api/v1/{path}").status_code == 200
    assert not answer.content
