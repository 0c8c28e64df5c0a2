from __future__ import annotations

import pytest

from tests.control_plane.tenant import Api, Tenant, make_tenant
from tests.control_plane.tenants.people import make_person, sign_in


@pytest.fixture
def alice(db: None) -> Tenant:
    return make_tenant("alice")


@pytest.fixture
def bob(db: None) -> Tenant:
    return make_tenant("bob")


@pytest.fixture
def operator(db: None) -> Api:
    """Just signed in as an operator of the service, who belongs to no organization."""
    return sign_in(make_person("operator@example.com", is_staff=True))
