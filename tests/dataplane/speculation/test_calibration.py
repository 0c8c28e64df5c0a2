"""Calibration: confidences become probabilities, rates are pooled over projects, drift is told from noise."""

from __future__ import annotations

import random

import pytest

from dataplane.speculation.calibration import (
    MemoryCalibration,
    OnlineLogistic,
    PageHinkley,
    cell_of,
    log_loss,
    logit,
    sigmoid,
)
from dataplane.speculation.drafters.context_table import ORDERS
from dataplane.speculation.drafters.memory import Evidence


@pytest.mark.parametrize("probability", [0.001, 0.3, 0.5, 0.99])
def test_sigmoid_inverts_logit(probability: float) -> None:
    assert sigmoid(logit(probability)) == pytest.approx(probability)


@pytest.mark.parametrize("value", [-1e6, -30.0, 0.0, 30.0, 1e6])
def test_sigmoid_never_overflows(value: float) -> None:
    assert 0 <= sigmoid(value) <= 1


def test_an_overconfident_drafter_is_calibrated_within_a_few_hundred_tokens() -> None:
    draw, logistic = random.Random(0), OnlineLogistic()
    for _ in range(800):
        chance = draw.uniform(0.1, 0.9)
        logistic.learn(logit(chance**0.4), draw.random() < chance)
    for chance in (0.2, 0.4, 0.6, 0.8):
        assert logistic.probability(logit(chance**0.4)) == pytest.approx(chance, abs=0.1)


def test_a_new_project_starts_from_the_pooled_calibration_and_then_goes_its_own_way() -> None:
    pooled = OnlineLogistic()
    for index in range(400):
        expected = pooled.probability(logit(0.9))
        assert pooled.learn(logit(0.9), index % 2 == 0) == expected
    child = pooled.child()
    assert child.probability(logit(0.9)) == pooled.probability(logit(0.9)) == pytest.approx(0.5, abs=0.15)
    for _ in range(200):
        child.learn(logit(0.9), True)
    assert child.probability(logit(0.9)) > 0.85
    assert pooled.probability(logit(0.9)) < 0.7


def test_memory_rates_are_pooled_over_projects_until_a_project_knows_better() -> None:
    evidence = Evidence("project", 6, 4, 4)
    pooled: dict = {}  # type: ignore[type-arg]
    one, other = MemoryCalibration(pooled), MemoryCalibration(pooled)
    for _ in range(50):
        one.learn(cell_of(evidence, 0.0), True)
    assert other.rate(evidence, 0.0).mean > 0.85
    for _ in range(50):
        other.learn(cell_of(evidence, 0.0), False)
    assert other.rate(evidence, 0.0).mean < 0.2
    assert one.rate(evidence, 0.0).mean > 0.85


def test_pooling_passes_on_rates_and_never_tokens() -> None:
    pooled: dict = {}  # type: ignore[type-arg]
    MemoryCalibration(pooled).learn(cell_of(Evidence("project", 6, 4, 4), 0.0), True)
    assert all(isinstance(cell, int) and cell < 2 * len(ORDERS) * 4 * 3 * 3 for cell in pooled)


def test_every_kind_of_evidence_has_a_cell_of_its_own() -> None:
    evidence = [
        Evidence(scope, order, hits, total)
        for scope in ("request", "project")
        for order in ORDERS
        for hits, total in ((1, 1), (2, 2), (4, 4), (8, 8), (3, 4), (1, 4))
    ]
    cells = {cell_of(one, temperature) for one in evidence for temperature in (0.0, 0.5, 1.0)}
    assert len(cells) == 3 * len(evidence)


def test_a_lasting_rise_is_a_drift_and_a_single_surprise_is_none() -> None:
    draw, detector = random.Random(1), PageHinkley()
    noise = [log_loss(0.7, draw.random() < 0.7) for _ in range(2_000)]
    assert not any(detector.learn(loss) for loss in noise)
    assert not detector.learn(log_loss(1e-9, True))
    assert any(detector.learn(log_loss(0.7, draw.random() < 0.1)) for _ in range(60))
