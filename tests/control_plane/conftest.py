from __future__ import annotations

import pytest

from tests.control_plane.tenant import Api, Tenant, make_tenant


@pytest.fixture
def alice(db: None) -> Tenant:
    return make_tenant("alice")


@pytest.fixture
def bob(db: None) -> Tenant:
    return make_tenant("bob")


@pytest.fixture
def operator(db: None) -> Api:
    """Signed in as an operator of the service, who belongs to no organization."""
    from control_plane.tenants.models import User

    user = User.objects.create_user("operator@example.com", is_staff=True)
    api = Api()
    api.client.force_login(user)
    return api
