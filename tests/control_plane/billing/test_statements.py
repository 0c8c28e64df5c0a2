from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.billing import money, selectors
from control_plane.billing.ingestion import ingest
from control_plane.billing.models import Price
from control_plane.billing.services import create_price
from control_plane.common.ids import new_id
from dataplane import contracts
from tests.control_plane.billing.test_ingestion import undone
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.tenant import MODEL, Api, Tenant, api_with_role, catalogue_model

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
COUNTS = st.integers(min_value=0, max_value=10**9)


def _price(effective_from: datetime, prompt: int = 20_000, cached: int = 5_000, completion: int = 60_000) -> Price:
    return Price.objects.create(
        model=catalogue_model(), effective_from=effective_from, prompt=prompt, cached=cached, completion=completion,
        created_by="test",
    )  # fmt: skip


@given(st.integers(min_value=0, max_value=10**24))
def test_rounding_is_half_up_to_the_cent(amount: int) -> None:
    exact = Fraction(amount, money.PICO_PER_CENT)
    rounded = money.round_to_cents(amount)
    assert -Fraction(1, 2) < exact - rounded < Fraction(1, 2) or exact - rounded == -Fraction(1, 2)


@given(COUNTS, COUNTS, COUNTS, st.integers(min_value=0, max_value=10**12))
def test_a_line_is_quantity_times_price(uncached: int, cached: int, completion: int, price: int) -> None:
    usage = money.Usage(MODEL, "prc_1", (price, 2 * price, 3 * price), 1, uncached + cached, cached, completion)
    lines = money.lines([usage])
    assert sum(line.amount_pico for line in lines) == price * (uncached + 2 * cached + 3 * completion)
    assert all(line.amount_pico == line.quantity * line.unit_price for line in lines)


def test_amounts_are_written_exactly() -> None:
    assert money.dollars(1_234_05) == "1234.05"
    assert money.pico_dollars(1) == "0.000000000001"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_events_usage_and_statement_agree_after_any_replay(alice: Tenant, data: st.DataObject) -> None:
    minutes = st.integers(min_value=0, max_value=31 * 24 * 60 - 1)
    drawn = data.draw(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, minutes), min_size=1, max_size=12))
    events = [
        usage_event(
            alice,
            number,
            prompt_tokens=uncached + cached,
            cached_tokens=cached,
            completion_tokens=completion,
            finished_at=(MARCH + timedelta(minutes=minute)).isoformat(),
        )
        for number, (uncached, cached, completion, minute) in enumerate(drawn)
    ]
    wire = [contracts.to_dict(item) for item in sequenced(events)]
    change = MARCH + timedelta(minutes=data.draw(minutes))
    with undone():
        prices = [_price(datetime(2020, 1, 1, tzinfo=UTC)), _price(change, 7, 3, 11)]
        node = new_id("node")
        for batch in (data.draw(st.permutations(wire)), wire[::2], wire):
            ingest(node, list(batch))
        until = datetime(2026, 4, 1, tzinfo=UTC)
        statement = selectors.statement(alice.principal, alice.organization.id, month=MARCH, now=until)
        (usage,) = selectors.usage(alice.principal, alice.organization.id, start=MARCH, end=until)
        by_day = selectors.usage(
            alice.principal, alice.organization.id, start=MARCH, end=until, group_by=["day", "key", "model"]
        )
    assert usage["requests"] == len(events)
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        assert usage[name] == sum(getattr(event, name) for event in events) == sum(row[name] for row in by_day)
    assert sum(line.amount_pico for line in statement.lines) == sum(_amount(event, prices) for event in events)
    quantities = {kind: sum(line.quantity for line in statement.lines if line.kind == kind) for kind in money.KINDS}
    assert quantities == {
        "prompt": usage["prompt_tokens"] - usage["cached_tokens"],
        "cached": usage["cached_tokens"],
        "completion": usage["completion_tokens"],
    }
    assert statement.total_cents == sum(money.round_to_cents(line.amount_pico) for line in statement.lines)


def _amount(event: contracts.UsageEvent, prices: Iterable[Price]) -> int:
    """The event's price by the definition, independent of the SQL."""
    finished = datetime.fromisoformat(event.finished_at)
    price = [price for price in prices if price.effective_from <= finished][-1]
    uncached = event.prompt_tokens - event.cached_tokens
    return uncached * price.prompt + event.cached_tokens * price.cached + event.completion_tokens * price.completion


def _march_usage(tenant: Tenant) -> None:
    FakeNode(f"node-of-{tenant.organization.name}").send_usage(
        sequenced([usage_event(tenant, number, completion_tokens=10_000_000) for number in range(3)])
    )


def test_a_statement_is_the_same_as_json_and_as_csv(alice: Tenant) -> None:
    _price(datetime(2020, 1, 1, tzinfo=UTC))
    _march_usage(alice)
    shown = alice.api.get("/api/v1/statements?month=2026-03").json()
    answer = alice.api.get("/api/v1/statements?month=2026-03&format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    *lines, total = csv.DictReader(io.StringIO(answer.content.decode()))
    assert shown["total"] == total["amount"] == "1.80"
    columns = ("model", "kind", "quantity", "unit_price", "amount_pico", "amount", "price_id")
    assert [[str(line[name]) for name in columns] for line in shown["lines"]] == [
        [line[name] for name in columns] for line in lines
    ]
    completion = next(line for line in shown["lines"] if line["kind"] == "completion")
    assert int(completion["amount_pico"]) == completion["quantity"] * 60_000 == 1_800_000_000_000


def test_usage_without_a_price_is_shown_and_costs_nothing(alice: Tenant) -> None:
    _march_usage(alice)
    shown = alice.api.get("/api/v1/statements?month=2026-03").json()
    assert shown["total_cents"] == 0
    assert {line["price_id"] for line in shown["lines"]} == {None}


def test_usage_groups_by_day_key_endpoint_and_model(alice: Tenant, bob: Tenant) -> None:
    _march_usage(alice)
    _march_usage(bob)
    query = "/api/v1/usage?group_by=day,key,endpoint,model&start=2026-03-01T00:00:00Z&end=2026-04-01T00:00:00Z"
    (row,) = alice.api.get(query).json()["data"]
    assert row == {
        "day": "2026-03-05",
        "key_id": alice.api_key.id,
        "endpoint_id": alice.endpoint.id,
        "model": MODEL,
        "requests": 3,
        "prompt_tokens": 303,
        "cached_tokens": 30,
        "completion_tokens": 30_000_000,
        "steps": 60,
        "drafted": 180,
        "accepted": 90,
    }


def test_usage_ends_before_its_end(alice: Tenant) -> None:
    _march_usage(alice)
    path = "/api/v1/usage?start={}&end={}"
    finished = "2026-03-05T10:00:01.250Z"
    assert alice.api.get(path.format("2026-03-01T00:00:00Z", finished)).json()["data"][0]["requests"] == 0
    assert alice.api.get(path.format(finished, "2026-03-06T00:00:00Z")).json()["data"][0]["requests"] == 3


def test_bad_parameters_are_named(alice: Tenant) -> None:
    def pointer(query: str) -> Any:
        answer = alice.api.get(f"/api/v1/{query}")
        assert answer.status_code == 400, query
        return answer.json()["errors"][0]["pointer"]

    assert pointer("usage?group_by=colour") == "/group_by"
    assert pointer("usage?group_by=day,day") == "/group_by"
    assert pointer("usage?start=noon") == "/start"
    assert pointer("usage?start=0001-01-01T00:00:00%2B14:00") == "/start"
    assert pointer("usage?start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z") == "/end"
    assert pointer("statements?month=2026-13") == "/month"
    assert pointer("statements?month=0000-01") == "/month"
    assert pointer("statements?format=pdf") == "/format"


def test_who_sees_no_money_gets_no_statement(alice: Tenant) -> None:
    assert api_with_role(alice, "developer").get("/api/v1/statements").status_code == 403
    assert api_with_role(alice, "billing").get("/api/v1/statements").status_code == 200


def test_only_operators_set_prices_and_never_for_the_past(alice: Tenant, operator: Api) -> None:
    body = {"model": MODEL, "effective_from": "2026-01-01T00:00:00Z", "prompt": 1, "cached": 1, "completion": 1}
    assert alice.api.post("/api/v1/prices", body).status_code == 403
    assert operator.post("/api/v1/prices", body).status_code == 201
    answer = operator.post("/api/v1/prices", body | {"effective_from": "2026-01-02T00:00:00Z"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/effective_from")
    assert operator.post("/api/v1/prices", body | {"effective_from": "2999-01-01T00:00:00Z"}).status_code == 201
    assert len(alice.api.get(f"/api/v1/prices?model={MODEL}").json()["data"]) == 2


def test_a_first_price_may_reach_back(db: None) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    price = create_price(catalogue_model(), effective_from=since, prompt=1, cached=1, completion=1, actor="test")
    assert price.effective_from == since
