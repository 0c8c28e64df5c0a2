"""What can be had now and what it costs, before anything is started."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from control_plane.billing.services import create_price
from control_plane.endpoints.models import CatalogueModel
from control_plane.fleet.models import Node
from control_plane.fleet.reconciler import reconcile
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import MODEL, Tenant

pytestmark = pytest.mark.django_db


def _price(**changes: Any) -> None:
    model = CatalogueModel.objects.get(pk=MODEL)
    given: dict[str, Any] = {"effective_from": timezone.now() - timedelta(days=1), "prompt": 20_000, "cached": 5_000}
    create_price(model, **{**given, "completion": 60_001, "actor": "test", **changes})


def _load(**changes: Any) -> dict[str, Any]:
    return {"model": MODEL, "requests": 1_000_003, "prompt_tokens": 500, "cached_tokens": 100} | {
        "completion_tokens": 77,
        **changes,
    }


def test_a_model_shows_its_price_and_what_is_free_now(alice: Tenant, bob: Tenant) -> None:
    before = alice.api.get(f"/api/v1/models/{MODEL}").json()
    assert (before["price"], before["availability"]) == (None, {"ready_nodes": 0, "free_projects": 0})
    _price()
    _price(effective_from=timezone.now() + timedelta(days=1), prompt=99)
    node = FakeNode()
    node.heartbeat()
    reconcile()
    Node.objects.update(max_projects=10)
    shown = alice.api.get("/api/v1/models").json()["data"][0]
    assert shown["availability"] == {"ready_nodes": 1, "free_projects": 8}, "also another tenant's project takes room"
    assert (shown["price"]["prompt"], shown["hardware"], shown["engine"]) == (20_000, "cpu", "embedded")
    node.heartbeat(state="not_ready")
    assert alice.api.get("/api/v1/models").json()["data"][0]["availability"]["ready_nodes"] == 0


def test_hardware_lists_its_models_and_sums_up_their_nodes(alice: Tenant) -> None:
    CatalogueModel.objects.create(id="big", name="Big", folder="big", context_length=8, hardware="b200", engine="sgl")
    FakeNode().heartbeat()
    found = {row["id"]: row for row in alice.api.get("/api/v1/hardware").json()["data"]}
    assert (found["b200"]["models"], found["b200"]["engines"]) == (["big"], ["sgl"])
    assert found["b200"]["availability"]["ready_nodes"] == 0
    assert found["cpu"]["availability"]["ready_nodes"] == 1


def test_an_estimate_is_exact_and_says_what_it_assumes(alice: Tenant) -> None:
    _price()
    found = alice.api.post("/api/v1/cost-estimates", _load()).json()
    amounts = {line["kind"]: line["amount_pico_dollars"] for line in found["lines"]}
    assert amounts == {
        "prompt": 1_000_003 * 400 * 20_000,
        "cached": 1_000_003 * 100 * 5_000,
        "completion": 1_000_003 * 77 * 60_001,
    }
    assert found["total_pico_dollars"] == sum(amounts.values())
    assert found["total_cents"] == sum((amount + 5 * 10**9) // 10**10 for amount in amounts.values())
    assert any("1000003 requests" in said for said in found["assumptions"])


def test_training_is_estimated_by_the_hour(alice: Tenant, settings: Any) -> None:
    settings.SLIPSTREAM_TRAINING_PRICE_PER_HOUR = 3_600_001
    found = alice.api.post("/api/v1/cost-estimates", _load(requests=0, training_seconds=10)).json()
    assert (found["training_pico_dollars"], found["total_pico_dollars"]) == (10_001 * 10**6, 10_001 * 10**6)
    assert found["lines"] == [] and "no price yet" in found["assumptions"][0]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"model": "gpt-99"}, "/model"),
        ({"cached_tokens": 501}, "/cached_tokens"),
        ({"requests": -1}, "/requests"),
        ({"min_replicas": 3, "max_replicas": 2}, "/max_replicas"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(alice: Tenant, changes: dict[str, Any], pointer: str) -> None:
    answer = alice.api.post("/api/v1/cost-estimates", _load(**changes))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
