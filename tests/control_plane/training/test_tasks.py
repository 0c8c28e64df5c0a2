"""What beat starts."""

from datetime import timedelta

import pytest
from django.utils import timezone

from control_plane.common.object_store import ObjectNotFoundError, object_store
from control_plane.training import erasure
from control_plane.training.tasks import discover_segments
from tests.control_plane.learning import ACTOR, make_tenant, put_segment

pytestmark = pytest.mark.django_db


def test_deleted_traffic_that_arrives_late_is_deleted_also_without_consent(s3_settings):
    tenant, store = make_tenant(), object_store()
    tenant.consent()
    erasure.request_erasure(tenant.project, actor=ACTOR)
    tenant.consent(capture=False)
    late = put_segment(store, tenant, at=timezone.now() - timedelta(minutes=5))

    discover_segments()

    with pytest.raises(ObjectNotFoundError):
        store.head(late)
