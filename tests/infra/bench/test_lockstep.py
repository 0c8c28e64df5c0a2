"""Arms in lock-step emit the same tokens, each with its own clock; what shares a prompt reads it once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.bench.arms import ADAPTIVE, MEMORY, MOVING_AVERAGE, PLAIN, STATIC, Arm, Job, fixed
from infra.bench.budget import Box
from infra.bench.context import Context
from infra.bench.lockstep import Race, whole_stream
from infra.bench.sections.curve import ablation
from infra.bench.sections.rl import fall_and_return
from infra.bench.stage import Stage
from infra.bench.traffic import drift, switching, together, zipf

STATIC_FOLDER = Path(__file__).resolve().parents[3] / "dataplane/checkpoints/smollm2-135m-instruct-eagle3"


@pytest.fixture(scope="module")
def stage(real_model: Path) -> Iterator[Stage]:
    stage = Stage(real_model, STATIC_FOLDER, threads=1, sweep=False)
    yield stage
    stage.close()


@pytest.mark.real_model
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_all_arms_emit_the_same_tokens(stage: Stage, temperature: float) -> None:
    arms = [Arm(stage, spec, slots=2) for spec in (PLAIN, STATIC, fixed(3), MOVING_AVERAGE, MEMORY, ADAPTIVE)]
    texts = ["Count from one to nine.", "Say hello twice.", "Name three colours."]
    prompts = [stage.encode([{"role": "user", "content": text}], 10) for text in texts]
    groups = [
        [Job("a", prompts[0], 10, temperature, 1), Job("b", prompts[1], 6, temperature, 2)],
        [Job("a", prompts[2], 8, temperature, 3)],
    ]
    race = Race(arms)
    laps = list(race.run(groups))
    assert [lap.is_equal for lap in laps] == [True, True]
    assert all(0 < lap.tokens <= 16 for lap in laps)
    assert laps[0].tenants == ("a", "b")
    assert {arm.tokens for arm in arms} == {sum(lap.tokens for lap in laps)}
    plain, three = race.index("plain"), race.index("fixed-3")
    assert arms[plain].tally.drafted == 0
    assert arms[three].tally.drafted > 0
    assert laps[1].steps[plain] == laps[1].tokens
    assert whole_stream(race, "plain", "plain")["value"] == 1.0
    assert race.record()["equal_outputs"] == 2


@pytest.mark.real_model
def test_streams_have_the_tenants_that_they_promise(stage: Stage) -> None:
    assert [group[0].tenant for group in drift(stage, 2)] == ["drifting"] * 6
    assert {group[0].tenant for group in switching(stage, 6)} == {"switching"}
    tenants = [group[0].tenant for group in zipf(stage, 60)]
    assert tenants.count("tenant-0") > tenants.count("tenant-5")
    assert [len(group) for group in together(zipf(stage, 7), 3)] == [3, 3]


@pytest.mark.real_model
def test_every_tier_is_ablated_on_the_same_tokens(stage: Stage, tmp_path: Path) -> None:
    prompt = stage.encode([{"role": "user", "content": "Repeat: one two one two one two one"}], 8)
    texts, jobs = [(*prompt, *prompt)], [Job("a", prompt, 8)] * 3
    record = ablation(Context(stage, tmp_path, [], []), "a", jobs, texts, Box(0.0))
    assert record["equal_outputs"] == 3
    assert set(record["over_plain"]) >= {"static", "T0", "T1", "T2", "T0+T1+T2"}
    assert not {"memory"} & set(record["accepted_by_source"]["T2"])


def test_a_change_of_weights_is_described_by_what_was_before_after_and_in_the_end() -> None:
    lengths = [[1.0, 2.0, value] for value in (3.0, 3.0, 3.0, 1.5, 1.5, 1.5, 2.8, 2.8, 2.8)]
    record = {"arms": ["plain", "static", "adaptive"], "acceptance_length_by_request": lengths, "changes": [3]}
    assert fall_and_return(record) == [{"before": 3.0, "after": 1.5, "end": pytest.approx(2.8)}]
