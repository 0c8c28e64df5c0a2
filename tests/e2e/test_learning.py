"""The learning loop through public interfaces: consent, traffic, a run, its gate, a version, the swap, money."""

from __future__ import annotations

import csv
import hashlib
import io
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.e2e.running import Running, eventually

pytestmark = [pytest.mark.crash, pytest.mark.real_model, pytest.mark.timeout(900)]

_CITIES = (
    *("Paris", "Rome", "Oslo", "Cairo", "Lima", "Delhi", "Tokyo", "Quito", "Riga", "Bern", "Accra", "Hanoi", "Doha"),
    *("Athens", "Dublin", "Prague", "Sofia", "Minsk"),
)
_FINAL = {"succeeded", "rejected", "skipped", "failed", "cancelled"}


def test_nothing_is_captured_without_consent(service: Running) -> None:
    response = _ask(service, "Paris")
    assert response.headers["x-slipstream-retention"] == "none"


def test_an_endpoint_learns_from_consented_traffic_and_the_node_swaps(service: Running) -> None:
    version = _learn(service)
    assert version["number"] == 1
    assert version["sample_count"] > 0
    assert version["consent"]["capture"] is True
    assert version["gate"]["reason"]

    answers = {}
    for mode in ("off", "static", "adaptive"):
        response = _ask(service, "Madrid", speculation={"mode": mode})
        answers[mode] = response.parse().choices[0].message.content
    assert len(set(answers.values())) == 1, "speculation changed the output"
    metrics = response.parse().metrics["speculative_decoding"]
    assert metrics["speculator_version"] == version["id"]
    assert metrics["accepted"] > 0

    assert service.services.s3 is not None
    bucket, client = service.services.s3.bucket, service.services.s3.client()
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix="projects/")["Contents"]]
    assert {key.split("/")[1] for key in keys} == {_project(service)["id"]}


def test_a_killed_worker_loses_no_run(service: Running) -> None:
    _learn(service)
    with service.management() as api:
        speculator = api.get("/speculators").json()["data"][0]
        run = _ok(api.post("/training-runs", json={"speculator_id": speculator["id"]}))
        state = lambda: _ok(api.get(f"/training-runs/{run['id']}"))  # noqa: E731
        eventually(lambda: state()["state"] in {"running", "evaluating"}, seconds=200, what="the run runs")
        service.kill("trainer")
        service.start("trainer")
        eventually(lambda: state()["state"] in _FINAL, seconds=400, what="the run ends")
        final = state()
    assert final["attempts"] == 2
    assert final["state"] in {"succeeded", "rejected", "skipped"}, final["state_reason"]


def test_a_tampered_artifact_is_refused_the_old_one_stays_and_operators_see_it(service: Running) -> None:
    tampered = _learn(service)
    with service.management() as api:
        speculator = _ok(api.get("/speculators"))["data"][0]
        _ok(api.post(f"/speculators/{speculator['id']}/freeze"))
        if speculator["active_version_id"] == tampered["id"]:
            _ok(api.post(f"/speculators/{speculator['id']}/rollback", json={"reason": "to promote it again"}))
    before = eventually(
        lambda: _served_by(service, not_by=tampered["id"]), seconds=120, what="another version, or none, serves"
    )
    _replace_artifact(service, tampered, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    for copy in (service.state.folder / "node" / "artifacts").glob(f"*{tampered['sha256']}*"):
        copy.unlink()
    with service.management() as api:
        _ok(api.post(f"/speculator-versions/{tampered['id']}/promote"))

    def refusal() -> dict[str, Any] | None:
        with service.operator() as api:
            nodes = _ok(api.get("nodes"))["data"]
        return next((row for node in nodes for row in node["loaded"] if row["state"] == "refused"), None)

    refused = eventually(refusal, seconds=120, what="the operator sees the refusal")
    assert refused["speculator_version_id"] == tampered["id"]
    assert "digest" in refused["reason"]
    assert _served_by(service, not_by=tampered["id"]) == before


def test_usage_times_price_equals_the_statement_to_the_last_digit(service: Running) -> None:
    _ask(service, "Vienna")
    with service.management() as api:

        def settled() -> tuple[Any, str, Any] | None:
            """Statement, its CSV and usage of one moment: nothing arrived between the first reading and the last."""
            usage = _ok(api.get("/usage", params={"group_by": "model"}))["data"]
            statement, text = _ok(api.get("/statements")), api.get("/statements", params={"format": "csv"}).text
            unchanged = usage == _ok(api.get("/usage", params={"group_by": "model"}))["data"]
            return (statement, text, usage) if usage and unchanged else None

        statement, text, usage = eventually(settled, seconds=90, what="usage settles")
        prices = {row["model"]: row for row in _ok(api.get("/prices"))["data"]}
    for line in statement["lines"]:
        row = next(row for row in usage if row["model"] == line["model"])
        quantity = {
            "prompt": row["prompt_tokens"] - row["cached_tokens"],
            "cached": row["cached_tokens"],
            "completion": row["completion_tokens"],
        }[line["kind"]]
        assert line["quantity"] == quantity
        assert int(line["amount_pico"]) == quantity * prices[line["model"]][line["kind"]]
    assert sum(line["amount_cents"] for line in statement["lines"]) == statement["total_cents"]
    lines = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(line["quantity"]) for line in lines if line.get("quantity")) == sum(
        line["quantity"] for line in statement["lines"]
    )
    assert Decimal(statement["total"]) * 100 == statement["total_cents"]


# ------------------------------------------------------------------------------------------------------------- helpers


def _ask(service: Running, city: str, *, speculation: dict[str, Any] | None = None) -> Any:
    """One request of a tenant with a habit: always the same form of answer."""
    prompt = f'Fill in this form about {city}: {{"city": "{city}", "country": "", "continent": "", "language": ""}}'
    return service.ask(prompt, max_tokens=48, extra_body={"speculation": speculation} if speculation else None)


def _project(service: Running) -> dict[str, Any]:
    with service.management() as api:
        endpoints = _ok(api.get("/endpoints"))["data"]
        endpoint = next(row for row in endpoints if row["name"] == service.demo["endpoint"])
        return dict(_ok(api.get(f"/projects/{endpoint['project_id']}")))


def _learn(service: Running) -> dict[str, Any]:
    """The oldest version of the demo's speculator; the first call gives consent, sends traffic and waits for it."""
    with service.management() as api:

        def versions() -> list[dict[str, Any]]:
            return list(_ok(api.get("/speculator-versions", params={"limit": 100}))["data"])

        if not versions():
            policy = {"capture": True, "sample_rate": 1.0, "retention_days": 1}
            _ok(api.put(f"/projects/{_project(service)['id']}/traffic-policy", json=policy))
            eventually(
                lambda: _ask(service, "Cork").headers["x-slipstream-retention"] == "training",
                seconds=90,
                what="the consent reaches the node",
            )
            for city in _CITIES:
                _ask(service, city)

            def run() -> dict[str, Any] | None:
                runs = _ok(api.get("/training-runs"))["data"]
                return next((row for row in runs if row["state"] in _FINAL), None)

            ended = eventually(run, seconds=400, what="a training run ends")
            assert ended["state"] == "succeeded", ended["state_reason"]
        oldest = min(versions(), key=lambda version: version["number"])
        if oldest["state"] == "active":

            def loaded() -> bool:
                metrics = _ask(service, "Ghent", speculation={"mode": "adaptive"}).parse().metrics
                return bool(metrics["speculative_decoding"]["speculator_version"] == oldest["id"])

            eventually(loaded, seconds=120, what="the node swaps")
        return oldest


def _replace_artifact(service: Running, version: dict[str, Any], change: Any) -> None:
    assert service.services.s3 is not None
    client, bucket = service.services.s3.client(), service.services.s3.bucket
    key = f"projects/{version['project_id']}/speculators/{version['sha256']}.safetensors"
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert hashlib.sha256(body).hexdigest() == version["sha256"]
    client.put_object(Bucket=bucket, Key=key, Body=change(body))


def _served_by(service: Running, *, not_by: str) -> str | None:
    """The version that drafts for an adaptive request ("static" if none), or None while it is `not_by`."""
    metrics = _ask(service, "Lisbon", speculation={"mode": "adaptive"}).parse().metrics["speculative_decoding"]
    return None if metrics["speculator_version"] == not_by else metrics["speculator_version"] or "static"


def _ok(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json()
