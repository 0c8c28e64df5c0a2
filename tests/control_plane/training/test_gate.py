import math

from hypothesis import given
from hypothesis import strategies as st

from control_plane.training.gate import GatePolicy, decide, length_interval, paired_gain
from dataplane.contracts import ArmReplay, TrainingReport

POLICY = GatePolicy(num_resamples=200)
lengths = st.floats(min_value=1.0, max_value=9.0)
records = st.lists(lengths, min_size=4, max_size=24)


def arm(per_record, tokens=50):
    steps = sum(tokens / length for length in per_record)
    total = tokens * len(per_record)
    return ArmReplay(round(steps), total, total / steps if steps else 0.0, 1.0, tuple(per_record))


def report(candidate, static, incumbent=None, **changes):
    arms = {"candidate": arm(candidate), "static": arm(static)}
    if incumbent is not None:
        arms["incumbent"] = arm(incumbent)
    values = {
        "training_run_id": "run_1",
        "outcome": "trained",
        "reason": "",
        "num_train_records": 100,
        "num_train_tokens": 10_000,
        "num_heldout_records": len(candidate),
        "arms": arms,
        "delta_sha256": "0" * 64,
        "delta_size_bytes": 1,
    }
    return TrainingReport(**(values | changes))


def test_a_clear_gain_over_static_and_incumbent_is_accepted():
    decision = decide(report([3.0, 3.2, 2.9, 3.1] * 4, [2.0, 2.1, 1.9, 2.0] * 4, [2.5, 2.4, 2.5, 2.6] * 4), POLICY)
    assert decision.accept and decision.baseline == "incumbent"
    assert "the active version" in decision.reason and decision.gain_lower_bound > POLICY.min_gain


def test_beating_static_alone_is_not_enough_when_an_incumbent_serves():
    decision = decide(report([2.5] * 8, [2.0] * 8, [2.5] * 8), POLICY)
    assert not decision.accept and decision.code == "no_gain_measured" and decision.baseline == "incumbent"


def test_beating_the_incumbent_alone_is_not_enough_below_static():
    assert decide(report([1.9] * 8, [2.0] * 8, [1.5] * 8), POLICY).baseline == "static"


def test_a_skipped_run_keeps_the_reason_of_the_child():
    decision = decide(report([2.0] * 4, [2.0] * 4, outcome="skipped", reason="too little data"), POLICY)
    assert (decision.outcome, decision.accept) == ("skipped", False) and "too little data" in decision.reason


def test_changed_output_is_rejected_whatever_the_gain():
    assert decide(report([8.0] * 8, [1.0] * 8, greedy_identical=False), POLICY).code == "output_changed"


def test_too_few_heldout_records_are_rejected():
    assert decide(report([8.0] * 3, [1.0] * 3), POLICY).code == "too_few_heldout_records"


def test_a_report_that_does_not_pair_is_rejected():
    for candidate, static in (([8.0] * 8, [1.0] * 7), ([math.nan] * 8, [1.0] * 8), ([8.0] * 8, [0.0] * 8)):
        broken = report([8.0] * 8, [1.0] * 8)
        broken.arms["candidate"] = ArmReplay(1, 1, 8.0, 1.0, tuple(candidate))
        broken.arms["static"] = ArmReplay(1, 1, 1.0, 1.0, tuple(static))
        assert decide(broken, POLICY).code == "malformed_report"


def test_a_report_without_static_replay_or_without_artifact_is_rejected():
    incomplete = report([8.0] * 8, [1.0] * 8)
    del incomplete.arms["static"]
    assert decide(incomplete, POLICY).code == "incomplete_report"
    assert decide(report([8.0] * 8, [1.0] * 8, delta_sha256=None), POLICY).code == "no_artifact"


@given(records)
def test_an_identical_candidate_is_never_accepted(baseline):
    assert not decide(report(baseline, baseline), POLICY).accept


@given(records, st.floats(min_value=0.1, max_value=1.0))
def test_a_candidate_that_is_nowhere_better_is_never_accepted(baseline, factor):
    assert not decide(report([length * factor for length in baseline], baseline), POLICY).accept


@given(records, st.floats(min_value=1.05, max_value=3.0))
def test_the_same_gain_on_every_record_is_measured_exactly(baseline, factor):
    measured = paired_gain([length * factor for length in baseline], baseline, policy=POLICY)
    assert all(math.isclose(figure, factor - 1, rel_tol=1e-9) for figure in measured)


@given(records, records)
def test_the_gain_and_the_length_lie_between_their_bounds(candidate, baseline):
    count = min(len(candidate), len(baseline))
    _, lower, upper = paired_gain(candidate[:count], baseline[:count], policy=POLICY)
    assert lower <= upper and min(candidate) / max(baseline) - 1.001 <= lower
    low, high = length_interval(candidate, policy=POLICY)
    assert min(candidate) * 0.999 <= low <= high <= max(candidate) * 1.001


def test_a_decision_carries_what_it_was_judged_by():
    assert decide(report([3.0] * 8, [2.0] * 8), POLICY).thresholds == POLICY


@given(st.lists(st.tuples(lengths, lengths), min_size=4, max_size=24), st.floats(min_value=1.0, max_value=2.0))
def test_improving_every_record_never_turns_an_acceptance_into_a_rejection(pairs, factor):
    candidate, baseline = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    before = decide(report(candidate, baseline), POLICY)
    after = decide(report([ours * factor for ours in candidate], baseline), POLICY)
    assert after.accept or not before.accept


@given(records, records)
def test_the_same_report_always_gets_the_same_decision(candidate, static):
    count = min(len(candidate), len(static))
    one = report(candidate[:count], static[:count])
    assert decide(one, POLICY) == decide(one, POLICY)


def test_noise_without_gain_is_rarely_accepted():
    import random

    accepted = 0
    for trial in range(200):
        draw = random.Random(trial)
        pairs = [(draw.uniform(1.5, 4.0) * draw.uniform(0.8, 1.25), draw.uniform(1.5, 4.0)) for _ in range(16)]
        accepted += decide(report([ours for ours, _ in pairs], [theirs for _, theirs in pairs]), POLICY).accept
    assert accepted <= 20  # 5 % of each trial, plus room for chance
