"""A training run end to end on a tiny model: `python -m dataplane.training SPEC OUT`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard

from dataplane.contracts import (
    TrafficRecord,
    TrainingProgress,
    TrainingReport,
    TrainingSpec,
    canonical_json,
    from_dict,
    to_dict,
)
from dataplane.models.generate import generate_batch
from dataplane.models.llama import LlamaModel
from dataplane.speculation.drafters.checkpoint import EagleConfig, load_checkpoint, save_checkpoint
from dataplane.speculation.drafters.delta import load_delta
from dataplane.training.data import MAX_SEQUENCE_TOKENS, Scorer, read_records, split_heldout
from tests.dataplane.speculation.eagle_worlds import tiny_checkpoint
from tests.dataplane.training.tiny_target import HIDDEN, VOCABULARY, write_tiny_target

CONFIG = EagleConfig(
    hidden_size=HIDDEN,
    intermediate_size=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    target_vocab_size=VOCABULARY,
    draft_vocab_size=80,
    feature_layers=(0, 1, 2),
    rope_theta=1000.0,
    max_position_embeddings=512,
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_target(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    save_checkpoint(folder, CONFIG, tiny_checkpoint(7, torch.bfloat16, CONFIG).tensors)
    return folder


@pytest.fixture(scope="module")
def records(target: Path) -> list[TrafficRecord]:
    """What a tenant with few distinct prompts sees: a shared system prompt, then one of four questions."""
    model = LlamaModel.load(target)
    source = torch.Generator().manual_seed(1)
    system = torch.randint(1, VOCABULARY, (24,), generator=source).tolist()
    prompts = [[*system, 5 + question, 9, 11 + number % 2] for number in range(40) for question in (number % 4,)]
    outputs = {
        completion.index: completion.tokens
        for completion in generate_batch(model, prompts, max_new_tokens=48, stop_token_ids=(), max_context=128)
    }
    return [
        TrafficRecord(
            f"trf_{index:04d}",
            "prj_a",
            "end_a",
            "tiny",
            f"2026-01-01T00:{index // 60:02d}:{index % 60:02d}Z",
            tuple(prompt),
            outputs[index],
        )
        for index, prompt in enumerate(prompts)
    ]


def write_segment(path: Path, records: Sequence[TrafficRecord], extra: Sequence[bytes] = ()) -> str:
    lines = [*extra, *(canonical_json(record) for record in records)]
    path.write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(lines) + b"\n"))
    return str(path)


def run_child(spec: TrainingSpec, out: Path) -> subprocess.CompletedProcess[str]:
    out.mkdir(exist_ok=True)
    (out / "spec.json").write_text(json.dumps(to_dict(spec)))
    command = [sys.executable, "-m", "dataplane.training", str(out / "spec.json"), str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def read(cls: type[Any], path: Path) -> Any:
    return from_dict(cls, json.loads(path.read_text()))


def test_a_run_on_repetitive_traffic_raises_heldout_acceptance_and_leaves_output_alone(
    target: Path, static: Path, records: list[TrafficRecord], tmp_path: Path
) -> None:
    junk = [b"{not json", b"[1, 2]", canonical_json(replace(records[0], project_id="prj_b", record_id="x"))]
    segment = write_segment(tmp_path / "a.jsonl.zst", records, junk)
    spec = TrainingSpec("run_1", "prj_a", str(target), str(static), (segment,), (), heldout_records=6)
    child = run_child(spec, tmp_path / "out")
    assert child.returncode == 0, child.stderr
    report: TrainingReport = read(TrainingReport, tmp_path / "out" / "report.json")
    assert report.outcome == "trained", report.reason
    assert "2 bad lines, 1 unsuitable" in report.reason
    assert (report.num_train_records, report.num_heldout_records) == (32, 6)
    assert (report.window_start, report.window_end) == (records[0].created_at, records[31].created_at)
    assert report.loss_curve[-1] < report.loss_curve[0]
    assert report.greedy_identical
    before, after = report.arms["static"], report.arms["candidate"]
    assert after.acceptance_length > 1.1 * before.acceptance_length
    assert len(after.per_record_acceptance_length) == 6
    assert before.tokens == after.tokens > 6 * 4
    progress: TrainingProgress = read(TrainingProgress, tmp_path / "out" / "progress.json")
    assert (progress.phase, progress.fraction) == ("done", 1.0)
    delta = load_delta(tmp_path / "out" / "delta.safetensors", load_checkpoint(static))
    assert report.delta_size_bytes == delta.size_bytes
    assert delta.memory == tuple(record.output_tokens for record in records[:32])

    again = replace(spec, incumbent_path=str(tmp_path / "out" / "delta.safetensors"), heldout_segments=(segment,))
    child = run_child(again, tmp_path / "again")
    assert child.returncode == 0, child.stderr
    second: TrainingReport = read(TrainingReport, tmp_path / "again" / "report.json")
    assert second.outcome == "skipped"  # every record is held out: nothing is left to train on
    assert "too little traffic: 0 records" in second.reason


def test_equal_inputs_give_equal_deltas(
    target: Path, static: Path, records: list[TrafficRecord], tmp_path: Path
) -> None:
    segment = write_segment(tmp_path / "a.jsonl.zst", records[:20])
    spec = TrainingSpec("run_1", "prj_a", str(target), str(static), (segment,), (), rank=4, heldout_records=4)
    digests = []
    for name in ("one", "two"):
        assert run_child(spec, tmp_path / name).returncode == 0
        digests.append(read(TrainingReport, tmp_path / name / "report.json").delta_sha256)
    assert digests[0] == digests[1] is not None


def test_too_little_traffic_is_skipped_with_a_reason(
    target: Path, static: Path, records: list[TrafficRecord], tmp_path: Path
) -> None:
    segment = write_segment(tmp_path / "a.jsonl.zst", records[:9])
    spec = TrainingSpec("run_1", "prj_a", str(target), str(static), (segment,), ())
    assert run_child(spec, tmp_path / "out").returncode == 0
    report: TrainingReport = read(TrainingReport, tmp_path / "out" / "report.json")
    assert report.outcome == "skipped"
    assert "too little traffic: 5 records" in report.reason
    assert not (tmp_path / "out" / "delta.safetensors").exists()


def test_what_is_wrong_is_said_in_one_line(target: Path, static: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd garbage")
    good = TrainingSpec("run_1", "prj_a", str(target), str(static), (str(tmp_path / "torn.jsonl.zst"),), ())
    problems = {
        "segment torn.jsonl.zst": good,
        "segment absent.zst": replace(good, train_segments=(str(tmp_path / "absent.zst"),)),
        "config.json": replace(good, static_path=str(tmp_path / "nothing")),
    }
    for index, (problem, spec) in enumerate(problems.items()):
        child = run_child(spec, tmp_path / f"out{index}")
        assert child.returncode == 1
        assert problem in child.stderr
        assert child.stderr.count("\n") == 1
    (tmp_path / "bad.json").write_text('{"training_run_id": 7}')
    command = [sys.executable, "-m", "dataplane.training", str(tmp_path / "bad.json"), str(tmp_path / "x")]
    child = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert child.returncode == 1
    assert child.stderr.startswith("specification: training_run_id")


def test_records_are_read_once_and_only_the_projects_own(records: list[TrafficRecord], tmp_path: Path) -> None:
    one = write_segment(tmp_path / "1.zst", records[:3], [b"\xff\xfe", b'{"version": 9}', b""])
    two = write_segment(
        tmp_path / "2.zst",
        [
            records[2],
            replace(records[3], output_tokens=(VOCABULARY,)),
            replace(records[4], output_tokens=(1,)),
            replace(records[5], prompt_tokens=(1,) * MAX_SEQUENCE_TOKENS),
            replace(records[6], project_id="prj_b"),
        ],
    )
    found = read_records((one, two), "prj_a", VOCABULARY)
    assert [record.record_id for record in found.usable] == [record.record_id for record in records[:3]]
    assert (found.num_bad_lines, found.num_unsuitable) == (3, 3)


def test_a_record_whose_masked_spans_make_no_sense_is_a_bad_line(records: list[TrafficRecord], tmp_path: Path) -> None:
    spans = [(), (1, 3, 4, 4), (1,), (3, 2), (-1, 2), (1, 3, 2, 4)]
    masked = [replace(record, masked=span) for record, span in zip(records, spans, strict=False)]
    found = read_records((write_segment(tmp_path / "1.zst", masked),), "prj_a", VOCABULARY)
    assert [record.masked for record in found.usable] == spans[:2]
    assert found.num_bad_lines == 4


def test_the_newest_traffic_is_held_out(records: list[TrafficRecord]) -> None:
    train, heldout = split_heldout(records[::-1])
    assert len(heldout) == 8
    assert max(record.created_at for record in train) < min(record.created_at for record in heldout)


def test_scores_do_not_depend_on_what_was_scored_before(target: Path, records: list[TrafficRecord]) -> None:
    model = LlamaModel.load(target, dtype=torch.float64)
    shared = Scorer(model)
    for record in (records[0], records[1], records[5], records[1]):
        after = shared.score(record.prompt_tokens, record.output_tokens)
        alone = Scorer(model).score(record.prompt_tokens, record.output_tokens)
        torch.testing.assert_close(after.features, alone.features)
        torch.testing.assert_close(after.finals, alone.finals)
