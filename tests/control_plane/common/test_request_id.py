"""What is done to every request before anything else sees it."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "status"), [("/sign-in", 200), ("/api/v1/projects", 401)])
def test_a_session_cookie_with_a_nul_character_is_no_session(path: str, status: int) -> None:
    answer = Client(headers={"Cookie": r'sessionid="abcdefgh\000ij"'}).get(path)

    assert answer.status_code == status
