"""Reports are read from sums of days: they must be the sums of the events, whatever arrives and whatever is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.billing import rollups, selectors
from control_plane.billing.ingestion import ingest
from control_plane.billing.models import KeyUsageDay, OrganizationUsageDay, Price, UsageEvent
from control_plane.common.ids import new_id
from control_plane.endpoints.models import CatalogueModel
from control_plane.tenants.services import create_project
from dataplane import contracts
from tests.control_plane.billing.test_ingestion import undone
from tests.control_plane.node import sequenced, usage_event
from tests.control_plane.tenant import MODEL, Tenant, catalogue_model

START = datetime(2026, 2, 27, tzinfo=UTC)
MINUTES = 6 * 24 * 60  # four days of February and March, so that a month ends within
MOMENTS = st.integers(0, MINUTES).map(lambda minutes: START + timedelta(minutes=minutes))
# Midnights and the moments beside them are where a wrong boundary shows.
EDGES = st.builds(
    lambda day, second: START + timedelta(days=day, seconds=second), st.integers(0, 6), st.integers(-1, 1)
)
ANY_MOMENT = MOMENTS | EDGES
PROPERTY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def events_of(draw: st.DrawFn, tenant: Tenant) -> list[contracts.UsageEvent]:
    drawn = draw(
        st.lists(
            st.tuples(ANY_MOMENT, st.sampled_from([MODEL, "other"]), st.sampled_from(["completed", "timeout"])),
            min_size=1,
            max_size=15,
        )
    )
    return [
        usage_event(tenant, number, started_at=at.isoformat(), finished_at=at.isoformat(), model=model, status=status)
        for number, (at, model, status) in enumerate(drawn, start=1)
    ]


def _send(events: list[contracts.UsageEvent], sizes: Iterable[int]) -> None:
    """In batches of these sizes, each batch twice."""
    node, items = new_id("node"), contracts.to_dict(sequenced(events))
    for size in sizes:
        for _ in range(2):
            ingest(node, items[:size])
        items = items[size:]
    ingest(node, items)


def _expected(tenant: Tenant, start: datetime, end: datetime, *columns: str) -> dict[tuple[Any, ...], Counter[str]]:
    """The same from the events alone, one by one."""
    found: dict[tuple[Any, ...], Counter[str]] = {} if columns else {(): Counter()}
    rows = UsageEvent.objects.filter(organization=tenant.organization, finished_at__gte=start, finished_at__lt=end)
    for event in rows:
        values = {**event.__dict__, "day": event.finished_at.astimezone(UTC).date()}
        into = found.setdefault(tuple(values[name] for name in columns), Counter())
        into["requests"] += 1
        for name in rollups.COUNTERS:
            into[name] += getattr(event, name)
    return dict(sorted(found.items()))


@PROPERTY
@given(data=st.data())
def test_a_report_is_the_sum_of_its_events_for_any_interval_and_any_groups(alice: Tenant, data: st.DataObject) -> None:
    events = data.draw(events_of(alice))
    start, end = sorted(data.draw(st.tuples(ANY_MOMENT, ANY_MOMENT)))
    groups = data.draw(st.lists(st.sampled_from(sorted(selectors.GROUPS)), unique=True))
    project = data.draw(st.sampled_from([None, alice.project.id]))
    with undone():
        _send(events, data.draw(st.lists(st.integers(0, 5), max_size=3)))
        assert rollups.differences() == []
        columns = [selectors.GROUPS[name][0] for name in groups]
        rows = selectors.usage(
            alice.principal,
            alice.organization.id,
            start=start,
            end=end + timedelta(microseconds=1),
            group_by=groups,
            project_id=project,
        )
        expected = _expected(alice, start, end + timedelta(microseconds=1), *columns)
        assert [tuple(row[name] for name in columns) for row in rows] == list(expected)
        for row, sums in zip(rows, expected.values(), strict=True):
            assert {name: row[name] for name in ("requests", *rollups.COUNTERS)} == {
                name: sums[name] for name in ("requests", *rollups.COUNTERS)
            }


@PROPERTY
@given(data=st.data())
def test_every_event_is_priced_by_the_price_of_its_moment(alice: Tenant, data: st.DataObject) -> None:
    events = data.draw(events_of(alice))
    changes = data.draw(st.lists(st.tuples(st.sampled_from([MODEL, "other"]), ANY_MOMENT), unique=True, max_size=5))
    start, end = sorted(data.draw(st.tuples(ANY_MOMENT, ANY_MOMENT)))
    with undone():
        CatalogueModel.objects.create(id="other", name="Other", folder="other", context_length=256)
        catalogue_model()
        prices = [
            Price.objects.create(model_id=model, effective_from=at, prompt=n, cached=n, completion=n, created_by="test")
            for n, (model, at) in enumerate(changes, start=1)
        ]
        _send(events, [])
        expected: Counter[tuple[str, str | None]] = Counter()
        for event in UsageEvent.objects.filter(
            organization=alice.organization, finished_at__gte=start, finished_at__lt=end
        ):
            earlier = [p for p in prices if p.model_id == event.model and p.effective_from <= event.finished_at]
            price = max(earlier, key=lambda p: p.effective_from, default=None)
            expected[event.model, price and price.id] += event.prompt_tokens
        found = selectors.priced(alice.organization.id, start, end)
        assert {(row.model, row.price_id): row.prompt_tokens for row in found} == dict(expected)


@pytest.mark.django_db
def test_a_report_until_now_reads_no_event(alice: Tenant) -> None:
    _send([usage_event(alice, 1)], [])
    until = datetime(2026, 3, 5, 23, tzinfo=UTC)  # after the day's last event
    with CaptureQueriesContext(connection) as captured:
        rows = selectors.usage(alice.principal, alice.organization.id, start=START, end=until, group_by=["project"])
    assert rows[0]["requests"] == 1
    read = [query["sql"] for query in captured if "billing_usageevent" in query["sql"] and "SUM(" in query["sql"]]
    assert read == []


@pytest.mark.django_db
def test_sums_hold_nothing_of_a_project_that_others_asked_for(alice: Tenant) -> None:
    other = create_project(alice.organization, name="other", actor=alice.user.id)
    _send([usage_event(alice, 1)], [])
    span = {"start": START, "end": START + timedelta(days=30)}
    rows = selectors.usage(alice.principal, alice.organization.id, project_id=other.id, **span)
    assert rows[0]["requests"] == 0


@pytest.mark.django_db
def test_a_lost_sum_is_noticed_and_rebuilt(alice: Tenant) -> None:
    _send([usage_event(alice, number) for number in range(1, 4)], [])
    assert rollups.differences() == []
    OrganizationUsageDay.objects.filter(organization=alice.organization).update(requests=2)
    KeyUsageDay.objects.filter(organization=alice.organization).delete()
    assert rollups.differences() == ["billing_keyusageday", "billing_organizationusageday"]
    rollups.rebuild()
    assert rollups.differences() == []
